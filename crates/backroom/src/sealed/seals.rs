//! The keys of a client, and which kinds are sealed with which of them.

use std::{collections::HashMap, sync::Arc};

use backroom_core::{
    Draft, JobId, JobRow, Json, Timestamp,
    draft::NewJob,
    sealed::{self, Sealed},
    unique::{OnConflict, UniqueBy},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{Codec, Field, Keys, OpenError, jwk::HashKey, place::Place};
use crate::{Error, ErrorKind, ids::Ids};

/// The keys of a client, and the kinds that are sealed although their types do not say so.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seals {
    pub(crate) keys: Option<Keys>,
    pub(crate) kinds: Arc<HashMap<String, String>>,
}

impl Seals {
    /// The name of the key that a kind is sealed with, as far as the options say so.
    pub(crate) fn of_kind(&self, kind: &str) -> Option<&str> {
        self.kinds.get(kind).map(String::as_str)
    }

    /// Whether the options seal any kind.
    pub(crate) fn has_kinds(&self) -> bool {
        !self.kinds.is_empty()
    }

    /// The checked job of a draft whose kind is sealed. None if it is not sealed: then the caller checks the draft.
    pub(crate) fn check(
        &self,
        draft: &mut Draft,
        id: JobId,
        now: Timestamp,
        json_bytes_max: usize,
        ids: &Ids,
    ) -> Result<Option<NewJob>, Error> {
        let of_kind = || self.of_kind(&draft.kind).map(str::to_owned);
        let Some(name) = draft.seal.take().or_else(of_kind) else { return Ok(None) };
        let draft = std::mem::replace(draft, Draft::new("", Json::null()));
        let new = if is_sealed(&draft.args) {
            sealed_before(draft, &name, id, now, json_bytes_max)
        } else {
            self.seal_draft(draft, &name, id, now, json_bytes_max, ids)
        };
        new.map(Some)
    }

    fn seal_draft(
        &self,
        draft: Draft,
        name: &str,
        id: JobId,
        now: Timestamp,
        json_bytes_max: usize,
        ids: &Ids,
    ) -> Result<NewJob, Error> {
        let keys = self.keys_for(&draft.kind, name)?;
        Ok(sealed_draft(&keys, draft, name, id, now, ids)?.check(id, now, json_bytes_max)?)
    }

    /// Other args of a job whose kind is sealed, sealed. Args of other jobs stay as they are.
    pub(crate) fn amended(&self, job: &JobRow, args: Json, ids: &Ids) -> Result<Json, Error> {
        let id = sealed::key_id(job.args.as_str());
        let name = match (self.of_kind(&job.kind), &id) {
            (Some(name), _) => name.to_owned(),
            (None, None) => return Ok(args),
            (None, Some(id)) => {
                let keys = self.keys_for(&job.kind, id)?;
                let name = keys.set().get(id).map(|key| key.name().to_owned());
                name.ok_or_else(|| no_key(&job.kind, id, &keys))?
            }
        };
        if job.unique_key.is_some() {
            // Whether it was made from the args cannot be seen.
            return Err(Error::from(backroom_core::Refused::KeyOfArgs));
        }
        if is_sealed(&args) {
            check_place(&args, &name, job.id, &job.kind)?;
            return Ok(args);
        }
        let keys = self.keys_for(&job.kind, &name)?;
        let set = keys.set();
        if set.current(&name).is_none() {
            return Err(no_key(&job.kind, &name, &keys));
        }
        Ok(Codec::new(set, &name, job.id, &job.kind).seal_json(Field::Args, &args, ids))
    }

    /// The output of a completed job. One of a kind that is known to be sealed must be sealed; others are opened if they are and if
    /// there are keys.
    pub(crate) fn output(&self, job: &JobRow, output: Json, seal: Option<&str>) -> Result<Json, Error> {
        let sealed = Sealed::of(output.as_str());
        let name = seal.or_else(|| self.of_kind(&job.kind));
        let refuse = |why: OpenError| {
            Error::new(ErrorKind::Refused, format!("open the output of job {}", job.id)).caused_by(why)
        };
        match (name, sealed, &self.keys) {
            (None, None, _) | (None, Some(_), None) => Ok(output),
            (Some(_), None, _) => Err(refuse(OpenError::NotSealed)),
            (Some(name), Some(_), _) => {
                let keys = self.keys_for(&job.kind, name)?;
                let lease = job.lease_id.unwrap_or(backroom_core::LeaseId(uuid::Uuid::nil()));
                let codec = Codec::new(keys.set(), name, job.id, &job.kind);
                codec.open_json(Field::Output(lease), &output).map_err(refuse)
            }
            (None, Some(_), Some(keys)) => match Codec::of(keys, job, output.as_str()) {
                Some(codec) => {
                    let lease = job.lease_id.unwrap_or(backroom_core::LeaseId(uuid::Uuid::nil()));
                    codec.open_json(Field::Output(lease), &output).map_err(refuse)
                }
                None => Ok(output),
            },
        }
    }

    /// The args of a claimed job whose handler's kind is sealed, opened, and what seals its answer.
    pub(crate) fn open(&self, job: &JobRow, name: &str) -> Result<(Json, Codec), OpenError> {
        let missing = || {
            let id = sealed::key_id(job.args.as_str());
            id.map_or(OpenError::NotSealed, OpenError::NoKey)
        };
        let set = self.keys.as_ref().ok_or_else(missing)?.set();
        let codec = Codec::new(Arc::clone(&set), name, job.id, &job.kind);
        let args = codec.open_json(Field::Args, &job.args)?;
        if set.current(name).is_none() {
            return Err(missing());
        }
        Ok((args, codec))
    }

    fn keys_for(&self, kind: &str, name: &str) -> Result<Keys, Error> {
        self.keys.clone().ok_or_else(|| {
            let message = format!(
                "seal or open values of kind {kind:?}: its jobs are sealed with the key {name:?}, and this program has no keys; seal the args before they come here, or give the program keys (Options::keys, the setting `keys`)"
            );
            Error::new(ErrorKind::Invalid, message)
        })
    }
}

/// A draft with its args sealed for the job `id`, and with a unique key that shows nothing.
pub(super) fn sealed_draft(
    keys: &Keys,
    mut draft: Draft,
    name: &str,
    id: JobId,
    now: Timestamp,
    ids: &Ids,
) -> Result<Draft, Error> {
    let set = keys.set();
    if set.current(name).is_none() {
        return Err(no_key(&draft.kind, name, keys));
    }
    if let Some(rule) = &mut draft.unique {
        if rule.on_conflict == OnConflict::Replace {
            return Err(no_replace(&draft.kind));
        }
        let hash = set.hash(name).ok_or_else(|| no_hash(&draft.kind, name, keys))?;
        let plain = rule.resolve(&draft.kind, &draft.args, now)?;
        rule.by = UniqueBy::Key(keyed(hash, &plain.key));
    }
    draft.args = Codec::new(set, name, id, &draft.kind).seal_json(Field::Args, &draft.args, ids);
    draft.seal = None;
    Ok(draft)
}

/// Args that were sealed before they came here must be for this very job.
fn sealed_before(
    draft: Draft,
    name: &str,
    id: JobId,
    now: Timestamp,
    json_bytes_max: usize,
) -> Result<NewJob, Error> {
    check_place(&draft.args, name, id, &draft.kind)?;
    match &draft.unique {
        None => {}
        Some(rule) if rule.on_conflict == OnConflict::Replace => return Err(no_replace(&draft.kind)),
        Some(rule) if matches!(rule.by, UniqueBy::Key(_)) => {}
        Some(_) => {
            let message = format!(
                "enqueue a job of kind {:?}: its args are sealed, so no unique key can be made from them here; the client makes one and gives it as `key`",
                draft.kind
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
    }
    Ok(draft.check(id, now, json_bytes_max)?)
}

fn is_sealed(json: &Json) -> bool {
    Sealed::of(json.as_str()).is_some()
}

/// Sealed args must be for this job, and sealed with a key of this name.
fn check_place(args: &Json, name: &str, id: JobId, kind: &str) -> Result<(), Error> {
    let refuse = |why: String| {
        Err(Error::new(ErrorKind::Invalid, format!("accept sealed args of kind {kind:?}: {why}")))
    };
    let Some((sealed, key)) = Sealed::of(args.as_str()).zip(sealed::key_id(args.as_str())) else {
        return refuse("they are not sealed".into());
    };
    if key != name && key.strip_prefix(name).is_none_or(|number| !number.starts_with('.')) {
        return refuse(format!("they are sealed with key {key:?}, and the kind's key is {name:?}"));
    }
    let place = Place { job: id, kind, field: Field::Args }.to_string();
    if sealed.aad != URL_SAFE_NO_PAD.encode(place) {
        return refuse("they were sealed for another job or another field".into());
    }
    Ok(())
}

/// The HMAC of a unique key, which shows nothing of it. Equal keys of one kind have equal ones. What is hashed names the kind.
pub(super) fn keyed(hash: &HashKey, plain: &str) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(&**hash.bytes).expect("invariant: HMAC takes keys of any length");
    mac.update(plain.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

fn no_key(kind: &str, name: &str, keys: &Keys) -> Error {
    let message = format!(
        "seal a job of kind {kind:?}: the {} has no key of the name {name:?}; `backroom keys make {name}` makes one",
        keys.describe()
    );
    Error::new(ErrorKind::Invalid, message)
}

fn no_hash(kind: &str, name: &str, keys: &Keys) -> Error {
    let message = format!(
        "make a unique key for a job of kind {kind:?}: the {} has no key {name}.hash; `backroom keys make` adds one",
        keys.describe()
    );
    Error::new(ErrorKind::Invalid, message)
}

fn no_replace(kind: &str) -> Error {
    let message = format!(
        "enqueue a job of kind {kind:?}: its args are sealed for this very job, so they cannot replace those of another; leave `replace` out"
    );
    Error::new(ErrorKind::Invalid, message)
}

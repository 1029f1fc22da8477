//! The texts that stores hold of a value: a version first, then the fields.
//!
//! A field that is added after a release raises the version where it is set, as for the extras of a job.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::Invalid;

/// The newest version of the stored texts that this program can read.
pub const VERSION: u32 = 1;

#[derive(Serialize)]
struct Versioned<'a, T> {
    v: u32,
    #[serde(flatten)]
    fields: &'a T,
}

/// The text for a store.
pub(crate) fn write<T: Serialize>(what: &'static str, fields: &T) -> Result<String, Invalid> {
    let text = serde_json::to_string(&Versioned { v: 1, fields });
    text.map_err(|error| Invalid::new(what, format!("does not encode: {error}")))
}

/// Reads the text of a store. Refuses text of a newer version, unknown fields and damaged text.
pub(crate) fn read<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, Invalid> {
    match serde_json::from_str(text) {
        Ok(Read::Known(fields)) => Ok(fields),
        Ok(Read::Newer(version)) => {
            let why = format!(
                "has version {version}, this program knows versions up to {VERSION}; it was written by a newer version of \
                 the program: update this one"
            );
            Err(Invalid::new(what, why))
        }
        Err(error) => Err(Invalid::new(what, format!("does not parse: {error}"))),
    }
}

/// What stored text turns out to be.
enum Read<T> {
    Known(T),
    Newer(u32),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ReadVisitor(PhantomData))
    }
}

struct ReadVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ReadVisitor<T> {
    type Value = Read<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object whose first field is the version `v`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read<T>, A::Error> {
        if map.next_key::<Cow<'de, str>>()?.is_none_or(|key| key != "v") {
            return Err(A::Error::custom("the first field is not the version `v`"));
        }
        match map.next_value()? {
            0 => Err(A::Error::custom("version 0 never existed")),
            1..=VERSION => T::deserialize(MapAccessDeserializer::new(map)).map(Read::Known),
            newer => {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Read::Newer(newer))
            }
        }
    }
}

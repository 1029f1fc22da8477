//! Keys of entries: names within scopes, counted where a loop uses a name again.
//!
//! A key is `scope/name`, and `scope/name#2` for the second use. It does not depend on what stands before it in the code, so a deploy
//! may add, remove and reorder steps. Two uses of one name that live at the same time would depend on which comes first, and
//! are refused.

use std::collections::HashMap;

use super::KEY_BYTES_MAX;
use crate::bounds::check_name;

/// Names a scope of a run. The root is there from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScopeId(usize);

impl ScopeId {
    /// The scope of the handler itself.
    pub const ROOT: Self = Self(0);
}

/// What is derived from a key and not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Derived {
    /// A random number.
    Random,
    /// A UUID.
    Uuid,
}

/// A key that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The key of the entry.
    pub key: String,
    scope: ScopeId,
    name: String,
}

/// Why a name cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It breaks the rules for names.
    #[error("name {why}")]
    Bad {
        /// How, and the remedy.
        why: String,
    },
    /// It is in use at this moment.
    #[error(
        "{key:?} is in use at the same time by another part of the workflow, and which of the two comes first could differ after \
         a crash; give each part a scope of its own, or another name"
    )]
    TwoLive {
        /// The key without a count.
        key: String,
    },
}

/// The scopes and names of a run.
#[derive(Debug, Clone)]
pub struct Names {
    /// The path of each scope, with a slash at its end.
    scopes: Vec<Scope>,
    /// By scope and name. The name of a scope ends with a slash, so it differs from the same name of a step.
    uses: HashMap<(ScopeId, String), Uses>,
    /// How often something was derived under a name.
    derived: HashMap<(ScopeId, Derived, String), u32>,
}

#[derive(Debug, Clone)]
struct Scope {
    path: String,
    parent: ScopeId,
    name: String,
}

#[derive(Debug, Clone, Copy, Default)]
struct Uses {
    count: u32,
    is_live: bool,
}

impl Named {
    /// A key that another process has made: `scope/name#2`.
    pub(super) fn whole(key: &str) -> Result<Self, NameError> {
        if key.len() > KEY_BYTES_MAX {
            return Err(too_long(key));
        }
        key.split('/')
            .try_for_each(|part| check_name("name", part))
            .map_err(|error| NameError::Bad { why: error.why })?;
        Ok(Self { key: key.to_owned(), scope: ScopeId::ROOT, name: key.to_owned() })
    }
}

fn too_long(key: &str) -> NameError {
    let bytes = key.len();
    let why = format!("{key:?} is {bytes} bytes long with its scopes; at most {KEY_BYTES_MAX} are allowed");
    NameError::Bad { why }
}

impl Default for Names {
    fn default() -> Self {
        let root = Scope { path: String::new(), parent: ScopeId::ROOT, name: String::new() };
        Self { scopes: vec![root], uses: HashMap::new(), derived: HashMap::new() }
    }
}

impl Names {
    /// The key of the next use of `name`.
    pub fn begin(&mut self, scope: ScopeId, name: &str) -> Result<Named, NameError> {
        check(name)?;
        let key = self.count(scope, name.to_owned())?;
        Ok(Named { key, scope, name: name.to_owned() })
    }

    /// The use has ended; the name may be used again.
    pub fn end(&mut self, named: &Named) {
        self.free(named.scope, &named.name);
    }

    /// The key under which the next number or UUID is derived. Entries, numbers and UUIDs are counted each by themselves: a UUID that
    /// is called as a step is does not change the key of the step.
    pub fn derive(&mut self, scope: ScopeId, what: Derived, name: &str) -> Result<String, NameError> {
        check(name)?;
        let plain = format!("{}{name}", self.path(scope));
        let count = self.derived.entry((scope, what, name.to_owned())).or_default();
        let key = counted(plain, *count)?;
        *count += 1;
        Ok(key)
    }

    /// Opens a scope.
    pub fn open(&mut self, parent: ScopeId, name: &str) -> Result<ScopeId, NameError> {
        check(name)?;
        let name = format!("{name}/");
        let counted = self.count(parent, name.clone())?;
        // The slash stands at the end, behind the count.
        let path = format!("{}/", counted.replacen("/#", "#", 1).trim_end_matches('/'));
        self.scopes.push(Scope { path, parent, name });
        Ok(ScopeId(self.scopes.len() - 1))
    }

    /// Closes a scope; its name may be used again.
    pub fn close(&mut self, scope: ScopeId) {
        if scope != ScopeId::ROOT {
            let Scope { parent, name, .. } = self.scopes[scope.0].clone();
            self.free(parent, &name);
        }
    }

    /// What the keys within a scope begin with.
    pub fn path(&self, scope: ScopeId) -> &str {
        &self.scopes[scope.0].path
    }

    fn count(&mut self, scope: ScopeId, name: String) -> Result<String, NameError> {
        let plain = format!("{}{name}", self.path(scope));
        let uses = self.uses.entry((scope, name)).or_default();
        if uses.is_live {
            return Err(NameError::TwoLive { key: plain.trim_end_matches('/').to_owned() });
        }
        let key = counted(plain, uses.count)?;
        (uses.count, uses.is_live) = (uses.count + 1, true);
        Ok(key)
    }

    fn free(&mut self, scope: ScopeId, name: &str) {
        if let Some(uses) = self.uses.get_mut(&(scope, name.to_owned())) {
            uses.is_live = false;
        }
    }
}

/// The key of a use, with the number of uses before it.
fn counted(plain: String, before: u32) -> Result<String, NameError> {
    let key = if before == 0 { plain } else { format!("{plain}#{}", before + 1) };
    if key.len() > KEY_BYTES_MAX {
        return Err(too_long(&key));
    }
    Ok(key)
}

fn check(name: &str) -> Result<(), NameError> {
    check_name("name", name).map_err(|error| NameError::Bad { why: error.why })?;
    if let Some(sign) = name.chars().find(|sign| matches!(sign, '/' | '#')) {
        let why = format!("{name:?} holds {sign:?}, which separates scopes and counts; leave it out");
        return Err(NameError::Bad { why });
    }
    Ok(())
}

//! A value that a reload replaces.

use std::sync::{Arc, PoisonError, RwLock};

/// A value that a reload replaces. Clones share it.
#[derive(Debug)]
pub(crate) struct Live<T>(Arc<RwLock<T>>);

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Live<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(value)))
    }

    /// The value as it is now. A request reads it once, so that it goes by one version of it.
    pub(crate) fn now(&self) -> T {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another value in effect. Requests that have begun go by the old one.
    pub(super) fn replace(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

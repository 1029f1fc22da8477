//! The state that handlers take beside their job.

use std::{
    any::{Any, TypeId, type_name},
    collections::HashMap,
    fmt,
    sync::Arc,
};

/// Values given to [`Worker::state`](crate::Worker::state), by their type.
#[derive(Default)]
pub(crate) struct States(HashMap<TypeId, (&'static str, Arc<dyn Any + Send + Sync>)>);

impl States {
    pub(crate) fn add<T: Send + Sync + 'static>(&mut self, value: T) {
        self.0.insert(TypeId::of::<T>(), (type_name::<T>(), Arc::new(value)));
    }

    fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let (_, value) = self.0.get(&TypeId::of::<T>())?;
        Arc::clone(value).downcast().ok()
    }

    /// The names of the types, for an error.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.0.values().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names
    }
}

/// What a handler of [`Worker::handle_with`](crate::Worker::handle_with) may take as its third argument: an `Arc<T>` of a value
/// given to [`Worker::state`](crate::Worker::state), or a tuple of up to four.
pub trait FromState: Sized + Send + 'static {
    /// The value; the name of the first type that is missing otherwise.
    #[doc(hidden)]
    fn from_state(states: &StatesOf<'_>) -> Result<Self, &'static str>;
}

/// What [`FromState`] takes from.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct StatesOf<'a>(pub(crate) &'a States);

impl fmt::Debug for StatesOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.names()).finish()
    }
}

impl<T: Send + Sync + 'static> FromState for Arc<T> {
    fn from_state(states: &StatesOf<'_>) -> Result<Self, &'static str> {
        states.0.get().ok_or_else(type_name::<T>)
    }
}

impl<A: FromState, B: FromState> FromState for (A, B) {
    fn from_state(states: &StatesOf<'_>) -> Result<Self, &'static str> {
        Ok((A::from_state(states)?, B::from_state(states)?))
    }
}

impl<A: FromState, B: FromState, C: FromState> FromState for (A, B, C) {
    fn from_state(states: &StatesOf<'_>) -> Result<Self, &'static str> {
        Ok((A::from_state(states)?, B::from_state(states)?, C::from_state(states)?))
    }
}

impl<A: FromState, B: FromState, C: FromState, D: FromState> FromState for (A, B, C, D) {
    fn from_state(states: &StatesOf<'_>) -> Result<Self, &'static str> {
        Ok((A::from_state(states)?, B::from_state(states)?, C::from_state(states)?, D::from_state(states)?))
    }
}

//! Sealed values: encrypted by the client, opened only where the key is.
//!
//! A kind is sealed by its type ([`Job::SEALED`](crate::Job::SEALED)) or by [`Options::seal_kind`](crate::Options::seal_kind). Then args, outputs, steps, progress messages,
//! log lines and errors of its jobs are sealed before they reach a store, with a key that has a name. Stores, servers, backups and pages
//! have the ciphertext. `docs/sealed.md` describes it.
//!
//! Start reading at `Seals::check` for enqueues and at `Codec` for runs. `jwe` seals and opens one value, `jwk` reads sets of keys,
//! `keys` gets them, `place` binds a value to its job and field.

mod codec;
mod jwe;
mod jwk;
mod keys;
mod place;
mod seals;
#[cfg(test)]
mod tests;

pub(crate) use self::{codec::Codec, seals::Seals};
pub use self::{
    jwe::OpenError,
    jwk::{Key, KeyAlgorithm, KeySet},
    keys::{KeyCommand, KeyFile, KeySource, KeyVariable, Keys},
    place::Field,
};

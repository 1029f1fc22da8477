//! What all pages of one server share.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{counted::Counted, live::Hub};

/// What all pages of one server share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared {
    /// From it come the keys of forms on a server without tokens, where no visitor signs in.
    secret: Arc<[u8; 32]>,
    /// How many jobs there are, counted beside the requests.
    pub(super) counted: Arc<Counted>,
    /// The pages that are watched now.
    pub(super) hub: Arc<Hub>,
}

impl Shared {
    /// `secret`: random bits that cannot be guessed.
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self { secret: Arc::new(secret), counted: Arc::default(), hub: Arc::default() }
    }

    /// The key of all forms, for visitors of this machine who need no session.
    pub(super) fn local_key(&self) -> String {
        form_key(&*self.secret)
    }
}

/// The key that proves that a form comes from our own page: it can be computed only from the secret of the session.
pub(super) fn form_key(secret: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"backroom form key\0");
    hash.update(secret);
    let hash: [u8; 32] = hash.finalize().into();
    hash[..16].iter().fold(String::with_capacity(32), |text, byte| text + &format!("{byte:02x}"))
}

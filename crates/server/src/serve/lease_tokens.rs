//! Tokens of single runs: what a command or an endpoint calls back with.
//!
//! A token names a job and a lease, and has a code that only servers with the same key can make. Lease ids alone are no secret:
//! people see them in logs and lists.

use backroom::{JobId, LeaseId, RunKey};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

/// How every such token begins.
const PREFIX: &str = "brl_";
/// Bytes of the code.
const CODE_BYTES: usize = 16;

/// Makes and reads tokens of runs.
pub(crate) struct LeaseTokens {
    key: [u8; 32],
}

impl LeaseTokens {
    /// With a key of the settings, or a random one: then the tokens end with this process.
    pub(super) fn new(key: Option<&str>, random: [u8; 32]) -> Self {
        Self { key: key.map_or(random, |key| Sha256::digest(key.as_bytes()).into()) }
    }

    /// The token of a run.
    pub(crate) fn issue(&self, run: RunKey) -> String {
        let code = u128::from_be_bytes(self.code(run));
        format!("{PREFIX}{}{}{code:032x}", run.job.0.simple(), run.lease.0.simple())
    }

    /// The run of a token; none if this server did not make it.
    pub(crate) fn read(&self, text: &str) -> Option<RunKey> {
        let text = text.strip_prefix(PREFIX)?;
        if text.len() != 96 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let (job, rest) = text.split_at(32);
        let (lease, code) = rest.split_at(32);
        let run =
            RunKey { job: JobId(Uuid::try_parse(job).ok()?), lease: LeaseId(Uuid::try_parse(lease).ok()?) };
        let code = u128::from_str_radix(code, 16).ok()?.to_be_bytes();
        bool::from(code.ct_eq(&self.code(run))).then_some(run)
    }

    /// Hashed twice with the key, so that a code says nothing about that of a longer text.
    fn code(&self, run: RunKey) -> [u8; CODE_BYTES] {
        let inner = Sha256::new()
            .chain_update(self.key)
            .chain_update(run.job.0.as_bytes())
            .chain_update(run.lease.0.as_bytes());
        let outer = Sha256::new().chain_update(self.key).chain_update(inner.finalize()).finalize();
        let mut code = [0; CODE_BYTES];
        code.copy_from_slice(&outer[..CODE_BYTES]);
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_with_the_same_key_reads_a_token() {
        let run = RunKey { job: JobId(Uuid::from_u128(1)), lease: LeaseId(Uuid::from_u128(2)) };
        let ours = LeaseTokens::new(Some("key"), [0; 32]);
        let token = ours.issue(run);
        assert_eq!(LeaseTokens::new(Some("key"), [1; 32]).read(&token), Some(run));
        assert_eq!(LeaseTokens::new(None, [0; 32]).read(&token), None);
        assert_eq!(
            LeaseTokens::new(None, [7; 32]).read(&LeaseTokens::new(None, [7; 32]).issue(run)),
            Some(run)
        );
        for at in [PREFIX.len(), PREFIX.len() + 40, token.len() - 1] {
            let mut wrong = token.clone().into_bytes();
            wrong[at] = if wrong[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(ours.read(&String::from_utf8(wrong).expect("text")), None);
        }
        for wrong in [
            "",
            "brl_",
            "brm_x",
            &token[..token.len() - 1],
            &format!("{token}0"),
            &token.replace("brl_", "brm_"),
        ] {
            assert_eq!(ours.read(wrong), None, "{wrong}");
        }
    }
}

//! The settings of callbacks, as the library takes them.

use backroom::{CallbackOptions, SigningSecret};

use super::Callbacks;

/// The options of the library. Fails with the key that is wrong and why; a secret is not repeated.
pub(crate) fn options(settings: &Callbacks) -> Result<CallbackOptions, (&'static str, String)> {
    let slots = u32::try_from(settings.slots).unwrap_or(u32::MAX);
    let mut options = CallbackOptions::new().source(&settings.source).slots(slots).timeout(settings.timeout);
    for secret in &settings.secrets {
        let secret: SigningSecret = secret
            .0
            .parse()
            .map_err(|invalid: backroom::Invalid| ("callbacks.secrets", invalid.to_string()))?;
        options = options.secret(secret);
    }
    for address in &settings.allowed_addresses {
        options = options
            .allow_address(address)
            .map_err(|invalid| ("callbacks.allowed_addresses", invalid.to_string()))?;
    }
    if settings.allow_unsigned {
        options = options.allow_unsigned();
    } else if settings.secrets.is_empty() {
        let why = "is true, but there is no secret to sign with; set `callbacks.secrets`, or `callbacks.allow_unsigned`";
        return Err(("callbacks.send", why.into()));
    }
    Ok(if settings.https_only { options.https_only() } else { options })
}

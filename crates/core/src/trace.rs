//! Trace context: which trace of the caller a job belongs to.

use crate::Invalid;

/// Length of a `traceparent` of version 00.
const LENGTH: usize = 55;
/// Longest `traceparent` of a later version, in bytes.
const LENGTH_MAX: usize = 128;
/// The remedy in every error.
const FORM: &str = "use version-traceid-parentid-flags in lower-case hexadecimal digits, like \
     00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Checks a `traceparent` as W3C Trace Context level 1 defines it (<https://www.w3.org/TR/trace-context-1/>).
///
/// Version 00 has exactly four fields. A later version may have more behind them; what this program does not know is stored
/// as it is.
pub fn check_traceparent(text: &str) -> Result<(), Invalid> {
    let refuse = |why: String| Err(Invalid::new("traceparent", format!("{text:?} {why}; {FORM}")));
    if text.len() > LENGTH_MAX {
        let why = format!("is {} bytes long; at most {LENGTH_MAX} are allowed; {FORM}", text.len());
        return Err(Invalid::new("traceparent", why));
    }
    let mut fields = text.splitn(5, '-');
    for (name, digits) in [("version", 2), ("trace id", 32), ("parent id", 16), ("flags", 2)] {
        let field = fields.next().unwrap_or_default();
        if field.len() != digits || !field.bytes().all(is_digit) {
            return refuse(format!("has the {name} {field:?}, which is not {digits} hexadecimal digits"));
        }
        let is_never_valid = match name {
            "version" => field == "ff",
            "flags" => false,
            _ => field.bytes().all(|byte| byte == b'0'),
        };
        if is_never_valid {
            return refuse(format!("has the {name} {field}, which is never valid"));
        }
    }
    if text.starts_with("00") && text.len() != LENGTH {
        return refuse("goes on behind the flags, which version 00 does not".into());
    }
    if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return refuse("holds a character that no header field may have".into());
    }
    Ok(())
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

//! The name of a thumbnail's file.

use std::path::{Component, Path};

/// The longest name that is spelled out, in bytes. File systems allow 255; the rest is for the width and the
/// extension.
const SPELLED_OUT_BYTES_MAX: usize = 200;

/// How much of the end of a longer name stays for people, in bytes.
const END_BYTES_MAX: usize = 120;

/// The name of the thumbnail of `source`, `width` pixels wide, still without the extension that
/// [`make`](super::make) adds. Give `source` relative to the watched folder: `holiday/a.jpg` becomes
/// `holiday~a.jpg~320`.
///
/// Two sources never share a name: the source's own extension stays, folders are joined with `~`, and what could
/// be mistaken for that is written as `=` and two hex digits (so are bytes that are no UTF-8, and a dot in
/// front, which would hide the thumbnail). Only of names that no file system could hold spelled out, a 128-bit
/// hash stands for the first part.
pub(crate) fn target_name(source: &Path, width: u32) -> String {
    let parts: Vec<String> = source
        .components()
        // `./a.jpg` and `a.jpg` are one file.
        .filter(|component| *component != Component::CurDir)
        .map(|component| escaped(component.as_os_str().as_encoded_bytes()))
        .collect();
    format!("{}~{width}", shortened(parts.join("~")))
}

fn escaped(name: &[u8]) -> String {
    let mut result = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let leads = letter == '.' && result.is_empty();
            if leads || letter.is_control() || r#"=~/\:*?"<>|"#.contains(letter) {
                let mut buffer = [0; 4];
                escape(letter.encode_utf8(&mut buffer).as_bytes(), &mut result);
            } else {
                result.push(letter);
            }
        }
        escape(chunk.invalid(), &mut result);
    }
    result
}

fn escape(bytes: &[u8], into: &mut String) {
    for byte in bytes {
        into.push_str(&format!("={byte:02X}"));
    }
}

/// A name that fits. `=~` marks the short ones: a spelled out name never has it, as hex digits follow its `=`.
fn shortened(name: String) -> String {
    if name.len() <= SPELLED_OUT_BYTES_MAX {
        return name;
    }
    let end = (name.len() - END_BYTES_MAX..name.len())
        .find(|at| name.is_char_boundary(*at))
        .expect("invariant: a letter is shorter than what stays");
    format!("{:032x}=~{}", fnv1a_128(name.as_bytes()), &name[end..])
}

/// FNV-1a in 128 bits: the standard library's hasher may differ from release to release, and a name must not.
/// Constants: <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn fnv1a_128(bytes: &[u8]) -> u128 {
    const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

    bytes.iter().fold(OFFSET_BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

//! Finds a user of this machine by name.

use std::{fs, io, path::Path};

/// What `/etc/passwd` says about a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: String,
}

/// The account of this name. Only the file is read: accounts of a directory service are not found.
pub(super) fn named(name: &str) -> io::Result<Option<Account>> {
    Ok(find(&fs::read_to_string(Path::new("/etc/passwd"))?, name))
}

fn find(accounts: &str, name: &str) -> Option<Account> {
    accounts.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let [its_name, _, uid, gid, _, home, ..] = fields[..] else { return None };
        (its_name == name).then_some(())?;
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        Some(Account { name: name.into(), uid, gid, home: home.into() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\nbroken\nmail:x:8:12:mail,,,:/var/mail:/bin/false\n";
        let mail = Account { name: "mail".into(), uid: 8, gid: 12, home: "/var/mail".into() };
        assert_eq!(find(accounts, "mail"), Some(mail));
        assert_eq!(find(accounts, "mai"), None);
        assert_eq!(find(accounts, "broken"), None);
    }
}

//! Prints `docs/settings.md` from the list of settings.

use std::fmt::Write as _;

use super::{KEYS, TABLES, Takes, table::Table};

const INTRO: &str = "\
# Settings of the server

<!-- Printed by the tests of crates/server from crates/server/src/config/keys.rs; do not edit. -->
<!-- UPDATE_DOCS=1 cargo test -p backroom-server --all-features --lib docs_settings -->

`backroom serve` reads its settings from three places. A later one is stronger:

1. the file `backroom.toml`: the one that `--config` or the variable `BACKROOM_CONFIG` names, else `./backroom.toml`, else
   `/etc/backroom/backroom.toml`;
2. variables of the environment, one for each setting;
3. flags, one for each setting.

A named file that does not exist is an error. `backroom config` prints the settings in effect and where each came from.
`backroom config --check` only checks them. Everything that is wrong is reported at once, with file, line and column. Unknown keys are
errors. Unknown variables are reported as warnings, because an orchestrator may have set them.

A time has a unit, as in `\"30s\"`, `\"5m\"` or `\"1h\"`. A size has a unit, too: `\"512B\"`, `\"64KiB\"`, `\"16MiB\"`. A list is an array in
the file; in a variable its values are separated by commas; a flag is given once for each value.

Some settings stand in tables by name, such as `[kinds.thumbnail]`: one table for each kind. They stand in the file only. `backroom
config` prints the keys that the file sets.

On SIGHUP the server reads its settings again. It takes those marked *reload* below at once, and logs which need a restart. If
anything is wrong, it keeps the old settings and logs why.

```toml
# backroom.toml
store = \"sqlite:/var/lib/backroom/backroom.db\"
listen = [\"127.0.0.1:8080\"]

[limits]
body_bytes = \"4MiB\"
```
";

fn print() -> String {
    let mut page = INTRO.to_owned();
    let mut section = None;
    for key in KEYS {
        let of = key.path.split_once('.').map(|(section, _)| section);
        if of != section || section.is_none() && key.path == KEYS[0].path {
            section = of;
            let _ = match of {
                Some(section) => writeln!(page, "\n## `[{section}]`"),
                None => writeln!(page, "\n## Without a section"),
            };
        }
        let default = if key.default.is_empty() { "none".into() } else { format!("`{}`", key.default) };
        let takes = word(key.takes);
        let sorts = if (key.is_list)() { "list of: " } else { "" };
        let _ = write!(
            page,
            "\n### `{}`\n\n{}\n\n- value: {sorts}{}\n- default: {default}\n- variable: `{}`, flag: `--{}`\n- a change takes a {takes}\n",
            key.path,
            key.described(),
            (key.expected)(),
            key.variable(),
            key.flag(),
        );
    }
    for table in TABLES {
        print_table(&mut page, table);
    }
    page
}

fn word(takes: Takes) -> &'static str {
    match takes {
        Takes::Reload => "reload",
        Takes::Restart => "restart",
    }
}

fn print_table(page: &mut String, table: &Table) {
    let described = |doc: &[&str]| doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    let _ = write!(
        page,
        "\n## `[{}.NAME]`\n\n{}\n\nA change takes a {}.\n",
        table.name,
        described(table.doc),
        word(table.takes)
    );
    for key in table.keys {
        let default = if key.default.is_empty() { "none".into() } else { format!("`{}`", key.default) };
        let sorts = if (key.is_list)() { "list of: " } else { "" };
        let _ = write!(
            page,
            "\n### `{}.NAME.{}`\n\n{}\n\n- value: {sorts}{}\n- default: {default}\n",
            table.name,
            key.name,
            described(key.doc),
            (key.expected)(),
        );
    }
}

#[test]
fn docs_settings_is_what_the_list_prints() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");
    let printed = print();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &printed).expect("docs/settings.md is writable");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == printed,
        "docs/settings.md is not what the list of settings prints; run: UPDATE_DOCS=1 cargo test -p backroom-server --all-features --lib docs_settings"
    );
}

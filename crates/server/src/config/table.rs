//! Declares settings: from one list come the struct, the keys, and how each value is read and shown.

use super::{ServerSettings, value::Raw};

/// One setting.
pub(crate) struct Key {
    /// Its name in the file, with the section before a dot.
    pub(crate) path: &'static str,
    /// What it is for, in one or more sentences.
    pub(crate) doc: &'static [&'static str],
    /// What its value may be.
    #[cfg_attr(not(test), expect(dead_code, reason = "the test that prints docs/settings.md reads it"))]
    pub(crate) expected: fn() -> &'static str,
    /// Its value where nothing sets it, as text.
    pub(crate) default: &'static str,
    /// What a change asks for.
    pub(crate) takes: Takes,
    /// How its value is shown.
    pub(crate) shown: Shown,
    /// Whether it takes several values.
    pub(crate) is_list: fn() -> bool,
    /// Reads a value. Fails with what is wrong with it.
    pub(super) set: fn(&mut ServerSettings, &Raw) -> Result<(), String>,
    /// The value as text, secrets included.
    pub(super) text: fn(&ServerSettings) -> String,
}

/// What a change of a setting asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// A reload (SIGHUP) is enough.
    Reload,
    /// The server must be restarted.
    Restart,
}

/// How a value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// As it is.
    Plain,
    /// A URL, without its password.
    Url,
    /// Not at all, because it may hold a secret.
    Hidden,
    /// Not at all: it is a secret, and not every user of the machine may read its file.
    Secret,
}

impl Shown {
    /// A value as it may be shown.
    fn show(self, text: String) -> String {
        match self {
            Self::Plain => text,
            Self::Url => backroom::without_password(&text),
            Self::Hidden | Self::Secret if text.is_empty() => text,
            Self::Hidden | Self::Secret => "(hidden)".into(),
        }
    }
}

/// Tables of one sort, each with a name: `[kinds.NAME]`. They stand in the file only; they have no variables and no flags.
pub(crate) struct Table {
    /// The word before the dot.
    pub(crate) name: &'static str,
    /// What one of them is, in one or more sentences.
    #[cfg_attr(not(test), expect(dead_code, reason = "the test that prints docs/settings.md reads it"))]
    pub(crate) doc: &'static [&'static str],
    /// What a change of them asks for: of a key, or of a whole table.
    pub(crate) takes: Takes,
    /// What each of them may set.
    pub(crate) keys: &'static [TableKey],
    /// The names of those that are set, in order.
    pub(crate) names: fn(&ServerSettings) -> Vec<String>,
    /// Adds one with the defaults.
    pub(super) add: fn(&mut ServerSettings, &str),
    /// Takes all of them from other settings.
    pub(super) copy: fn(&mut ServerSettings, &ServerSettings),
}

/// One setting of a table by name.
pub(crate) struct TableKey {
    /// Its name within the table.
    pub(crate) name: &'static str,
    /// What it is for, in one or more sentences.
    #[cfg_attr(not(test), expect(dead_code, reason = "the test that prints docs/settings.md reads it"))]
    pub(crate) doc: &'static [&'static str],
    /// What its value may be.
    #[cfg_attr(not(test), expect(dead_code, reason = "the test that prints docs/settings.md reads it"))]
    pub(crate) expected: fn() -> &'static str,
    /// Its value where nothing sets it, as text.
    #[cfg_attr(not(test), expect(dead_code, reason = "the test that prints docs/settings.md reads it"))]
    pub(crate) default: &'static str,
    /// How its value is shown.
    pub(crate) shown: Shown,
    /// Whether it takes several values.
    #[cfg_attr(not(test), expect(dead_code, reason = "the test that prints docs/settings.md reads it"))]
    pub(crate) is_list: fn() -> bool,
    /// Reads a value of the table with this name. Fails with what is wrong with it.
    pub(super) set: fn(&mut ServerSettings, &str, &Raw) -> Result<(), String>,
    /// The value as text, secrets included; empty if there is no table with this name.
    pub(super) text: fn(&ServerSettings, &str) -> String,
}

impl TableKey {
    /// Its value in the table with this name, as it may be shown.
    pub(crate) fn show(&self, settings: &ServerSettings, name: &str) -> String {
        self.shown.show((self.text)(settings, name))
    }
}

impl Key {
    /// The variable that sets it.
    pub(crate) fn variable(&self) -> String {
        format!("BACKROOM_{}", self.path.replace('.', "_").to_ascii_uppercase())
    }

    /// The flag that sets it, without the dashes.
    pub(crate) fn flag(&self) -> String {
        self.path.replace(['.', '_'], "-")
    }

    /// What it is for, on one line.
    pub(crate) fn described(&self) -> String {
        self.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// Its value as it may be shown.
    pub(crate) fn show(&self, settings: &ServerSettings) -> String {
        self.shown.show((self.text)(settings))
    }
}

/// A key as it stands in the file: `r#type` of Rust is `type` there.
pub(super) const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// Declares settings: first those without a section, then each section, then which tables by name there are.
/// `/// what it is for` `name: Type = "default", Reload or Restart, Plain or Url or Hidden or Secret;`
macro_rules! settings {
    (
        $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:literal, $takes:ident, $shown:ident; )*
        $( [$section:ident: $Section:ident] $( $(#[doc = $sdoc:literal])+ $sfield:ident: $stype:ty = $sdefault:literal, $stakes:ident, $sshown:ident; )* )*
        $( table $table:ident: $Table:ident; )*
    ) => {
        /// Every setting of the server, with its value.
        #[derive(Debug, Clone, Default)]
        pub(crate) struct ServerSettings {
            $( $(#[doc = $doc])+ pub(crate) $field: $type, )*
            $(
                #[doc = concat!("The section `", stringify!($section), "`.")]
                pub(crate) $section: $Section,
            )*
            $(
                #[doc = concat!("The tables `[", stringify!($table), ".NAME]`, by name.")]
                pub(crate) $table: std::collections::BTreeMap<String, super::tables::$Table>,
            )*
        }

        $(
            #[doc = concat!("The settings of the section `", stringify!($section), "`.")]
            #[derive(Debug, Clone, Default)]
            pub(crate) struct $Section {
                $( $(#[doc = $sdoc])+ pub(crate) $sfield: $stype, )*
            }
        )*

        /// Every setting there is but those of tables by name, in the order of the documentation.
        pub(crate) static KEYS: &[Key] = &[
            $( Key {
                path: stringify!($field),
                doc: &[$($doc),+],
                expected: <$type as Value>::expected,
                default: $default,
                takes: Takes::$takes,
                shown: Shown::$shown,
                is_list: <$type as Value>::is_list,
                set: |settings, raw| { settings.$field = Value::read(raw)?; Ok(()) },
                text: |settings| settings.$field.text(),
            }, )*
            $( $( Key {
                path: concat!(stringify!($section), ".", stringify!($sfield)),
                doc: &[$($sdoc),+],
                expected: <$stype as Value>::expected,
                default: $sdefault,
                takes: Takes::$stakes,
                shown: Shown::$sshown,
                is_list: <$stype as Value>::is_list,
                set: |settings, raw| { settings.$section.$sfield = Value::read(raw)?; Ok(()) },
                text: |settings| settings.$section.$sfield.text(),
            }, )* )*
        ];
    };
}

/// Declares the tables by name. A key has no `Reload or Restart`: that is said for the whole table, because a table can come and go.
macro_rules! tables {
    (
        $( table $table:ident: $Table:ident, $ttakes:ident, [$($tdoc:literal),+] { $( $(#[doc = $kdoc:literal])+ $kfield:ident: $ktype:ty = $kdefault:literal, $kshown:ident; )* } )*
    ) => {
        $(
            #[doc = concat!("One table `[", stringify!($table), ".NAME]`.")]
            #[derive(Debug, Clone, Default, PartialEq)]
            pub(crate) struct $Table {
                $( $(#[doc = $kdoc])+ pub(crate) $kfield: $ktype, )*
            }
        )*

        /// The tables by name, in the order of the documentation.
        pub(crate) static TABLES: &[Table] = &[
            $( Table {
                name: stringify!($table),
                doc: &[$($tdoc),+],
                takes: Takes::$ttakes,
                keys: &[
                    $( TableKey {
                        name: super::table::plain(stringify!($kfield)),
                        doc: &[$($kdoc),+],
                        expected: <$ktype as Value>::expected,
                        default: $kdefault,
                        shown: Shown::$kshown,
                        is_list: <$ktype as Value>::is_list,
                        set: |settings, name, raw| {
                            let table = settings.$table.entry(name.to_owned()).or_default();
                            table.$kfield = Value::read(raw)?;
                            Ok(())
                        },
                        text: |settings, name| settings.$table.get(name).map(|table| table.$kfield.text()).unwrap_or_default(),
                    }, )*
                ],
                names: |settings| settings.$table.keys().cloned().collect(),
                add: |settings, name| {
                    let mut table = $Table::default();
                    $( table.$kfield = Value::read(&Raw::Text($kdefault.into())).expect("invariant: a test reads every default"); )*
                    settings.$table.insert(name.to_owned(), table);
                },
                copy: |settings, from| settings.$table.clone_from(&from.$table),
            }, )*
        ];
    };
}

pub(super) use {settings, tables};

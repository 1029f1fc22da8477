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
    /// Not at all: it is a secret.
    Secret,
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
        let text = (self.text)(settings);
        match self.shown {
            Shown::Plain => text,
            Shown::Url => backroom::without_password(&text),
            Shown::Secret if text.is_empty() => text,
            Shown::Secret => "(hidden)".into(),
        }
    }
}

/// Declares settings: first those without a section, then each section.
/// `/// what it is for` `name: Type = "default", Reload or Restart, Plain or Url or Secret;`
macro_rules! settings {
    (
        $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:literal, $takes:ident, $shown:ident; )*
        $( [$section:ident: $Section:ident] $( $(#[doc = $sdoc:literal])+ $sfield:ident: $stype:ty = $sdefault:literal, $stakes:ident, $sshown:ident; )* )*
    ) => {
        /// Every setting of the server, with its value.
        #[derive(Debug, Clone, Default)]
        pub(crate) struct ServerSettings {
            $( $(#[doc = $doc])+ pub(crate) $field: $type, )*
            $(
                #[doc = concat!("The section `", stringify!($section), "`.")]
                pub(crate) $section: $Section,
            )*
        }

        $(
            #[doc = concat!("The settings of the section `", stringify!($section), "`.")]
            #[derive(Debug, Clone, Default)]
            pub(crate) struct $Section {
                $( $(#[doc = $sdoc])+ pub(crate) $sfield: $stype, )*
            }
        )*

        /// Every setting there is, in the order of the documentation.
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

pub(super) use settings;

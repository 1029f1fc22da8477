//! Where args come from: the command line, a file, or stdin.

use std::{
    fs::File,
    io::{IsTerminal as _, Read},
    path::PathBuf,
};

use backroom::{Json, core::bounds::JSON_BYTES_MAX};

use crate::terminal::{Problem, out};

/// The args of a job that is given none: what a handler with no fields decodes from.
const ARGS_DEFAULT: &str = "{}";

/// A place to read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Source {
    /// As written.
    Text(String),
    /// `@FILE`.
    File(PathBuf),
    /// `-`.
    Stdin,
}

/// What lines are read from, and how many bytes there are if that is known.
pub(super) struct Lines {
    pub(super) reader: Box<dyn Read + Send>,
    pub(super) bytes: Option<u64>,
}

impl Source {
    /// What `args` names; lines come from stdin unless a file is named.
    pub(in crate::cli) fn of(args: Option<&str>, lines: bool) -> Result<Self, Problem> {
        match args {
            Some("-") => Ok(Self::Stdin),
            Some(text) => match text.strip_prefix('@') {
                Some(path) => Ok(Self::File(path.into())),
                None if lines => {
                    Err(Problem::new("read the lines", &"--lines takes them from stdin or @FILE")
                        .hint("leave the args out, or leave --lines out"))
                }
                None => Ok(Self::Text(text.into())),
            },
            None if lines => Ok(Self::Stdin),
            None => Ok(Self::Text(ARGS_DEFAULT.into())),
        }
    }

    /// The whole text. One byte more than is allowed is read, so that the library refuses what is too large and
    /// it need not fit into memory.
    pub(in crate::cli) fn whole(&self) -> Result<String, Problem> {
        if let Self::Text(text) = self {
            return Ok(text.clone());
        }
        let mut bytes = Vec::new();
        let limit = JSON_BYTES_MAX as u64 + 1;
        self.reader()?
            .reader
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|error| Problem::new(format_args!("read {}", self.name()), &error))?;
        if bytes.len() > JSON_BYTES_MAX {
            let why = format!("args are more than the {JSON_BYTES_MAX} bytes of JSON that are allowed");
            return Err(Problem::new("accept the input", &why).hint(
                "store the bulk elsewhere and pass where it is; --lines takes many jobs from one file",
            ));
        }
        String::from_utf8(bytes)
            .map_err(|error| Problem::new(format_args!("read {}", self.name()), &error.utf8_error()))
    }

    /// The text as args.
    pub(in crate::cli) fn parse(&self, text: String) -> Result<Json, Problem> {
        // White space around the value is of no use to anybody, and a file ends with a line break.
        // Some editors put a mark before UTF-8, which is no part of the text.
        let mark = if matches!(self, Self::Text(_)) { None } else { text.strip_prefix('\u{feff}') };
        Json::parse(mark.unwrap_or(&text).trim()).map_err(|invalid| {
            let problem = Problem::new(format_args!("read the args from {}", self.name()), &invalid);
            match self {
                Self::Text(_) => problem.hint(
                    "args are JSON: '{\"to\":\"ada\"}' in single quotes, a text as '\"text\"', a file as @FILE",
                ),
                Self::File(_) | Self::Stdin => problem.hint("--lines takes one JSON value per line"),
            }
        })
    }

    /// What to read lines from.
    pub(super) fn lines(&self) -> Result<Lines, Problem> {
        self.reader()
    }

    fn reader(&self) -> Result<Lines, Problem> {
        let failed = |error| Problem::new(format_args!("read {}", self.name()), &error);
        match self {
            Self::Text(text) => {
                let bytes = Some(text.len() as u64);
                Ok(Lines { reader: Box::new(std::io::Cursor::new(text.clone().into_bytes())), bytes })
            }
            Self::File(path) => {
                let file = File::open(path).map_err(failed)?;
                let found = file.metadata().map_err(failed)?;
                if found.is_dir() {
                    return Err(Problem::new(format_args!("read {}", self.name()), &"it is a folder"));
                }
                let bytes = found.is_file().then_some(found.len());
                Ok(Lines { reader: Box::new(file), bytes })
            }
            Self::Stdin => {
                if std::io::stdin().is_terminal() {
                    out::note("reading from the terminal; end with Ctrl-D");
                }
                Ok(Lines { reader: Box::new(std::io::stdin()), bytes: None })
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Text(_) => "the command line".into(),
            Self::File(path) => format!("file {}", path.display()),
            Self::Stdin => "stdin".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn args_name_where_they_come_from() {
        let source = |args, lines| Source::of(args, lines).expect("a source");
        assert_eq!(source(Some("{}"), false), Source::Text("{}".into()));
        assert_eq!(source(Some("@a b.json"), false), Source::File("a b.json".into()));
        assert_eq!(source(Some("-"), false), Source::Stdin);
        assert_eq!(source(None, false), Source::Text("{}".into()));
        assert_eq!(source(None, true), Source::Stdin);
        assert!(Source::of(Some("{}"), true).is_err(), "one text is not many lines");
    }
}

//! A Python process that answers with cronsim and dateutil.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::Value;

/// One process; it ends when this is dropped, because its standard input is closed.
pub(crate) struct Python {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// Starts it. Fails with what to do if the packages are not installed: a test that needs them must not pass without.
    pub(crate) fn start() -> Self {
        let program = program();
        assert!(
            program.is_file(),
            "{} is missing: run `cargo xtask oracles`, which installs cronsim and dateutil from PyPI below target/, or name a \
             Python that has them in BACKROOM_TEST_ORACLES",
            program.display()
        );
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/agreement/oracles.py");
        let mut child = Command::new(&program)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start Python");
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("its standard output"));
        Self { child, questions, answers }
    }

    pub(crate) fn ask(&mut self, question: &Value) -> Value {
        let pipe = self.questions.as_mut().expect("its standard input");
        writeln!(pipe, "{question}").expect("ask Python");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("read what Python answers");
        serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{question} is answered with {line:?}: {error}"))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.questions.take();
        let _ended = self.child.wait();
    }
}

fn program() -> PathBuf {
    match std::env::var_os("BACKROOM_TEST_ORACLES") {
        Some(program) => program.into(),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/oracles/venv/bin/python"),
    }
}

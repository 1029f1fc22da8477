//! Reads a command's stdout, within a bound.

use backroom_core::Json;

use super::spec::Output;
use crate::Failure;

/// What a command wrote to stdout, as far as it matters.
#[derive(Debug)]
pub(super) struct Stdout {
    output: Output,
    bytes_max: usize,
    /// All of it, or the line that is not complete yet.
    bytes: Vec<u8>,
    last_line: Vec<u8>,
    too_large: bool,
}

impl Stdout {
    pub(super) fn new(output: Output, bytes_max: usize) -> Self {
        Self { output, bytes_max, bytes: Vec::new(), last_line: Vec::new(), too_large: false }
    }

    /// Takes what was read. False once it is more than allowed: then nothing further needs to be read.
    pub(super) fn take(&mut self, mut read: &[u8]) -> bool {
        match self.output {
            Output::Ignored => {}
            Output::Whole | Output::Text => self.append(read),
            Output::LastLine => {
                while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
                    self.append(&read[..end]);
                    self.line_ends();
                    read = &read[end + 1..];
                }
                self.append(read);
            }
        }
        !self.too_large
    }

    fn append(&mut self, read: &[u8]) {
        if read.len() > self.bytes_max.saturating_sub(self.bytes.len()) {
            self.too_large = true;
        }
        if !self.too_large {
            self.bytes.extend_from_slice(read);
        }
    }

    fn line_ends(&mut self) {
        if self.bytes.iter().any(|byte| !byte.is_ascii_whitespace()) {
            std::mem::swap(&mut self.bytes, &mut self.last_line);
        }
        self.bytes.clear();
    }

    pub(super) fn is_too_large(&self) -> bool {
        self.too_large
    }

    /// The failure of a job whose command wrote more than allowed.
    pub(super) fn too_large(&self) -> Failure {
        let what = match self.output {
            Output::LastLine => "a line of more than",
            Output::Whole | Output::Text | Output::Ignored => "more than",
        };
        let most = self.bytes_max;
        Failure::discard(format!(
            "the command wrote {what} {most} bytes to stdout, so it was ended; write less, or to a file"
        ))
    }

    /// The output of the job.
    pub(super) fn into_output(mut self) -> Result<Json, Failure> {
        if self.too_large {
            return Err(self.too_large());
        }
        if self.output == Output::LastLine {
            self.line_ends();
            self.bytes = self.last_line;
        }
        let text = String::from_utf8(self.bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Failure::discard(format!(
                "the command exited with 0, but its stdout is not UTF-8 from byte {at} on"
            ))
        })?;
        let refused = |why: String| {
            let hint = match self.output {
                Output::LastLine => "the last line of its stdout",
                Output::Whole | Output::Text | Output::Ignored => "its stdout",
            };
            Failure::discard(format!("the command exited with 0, but {hint} is no JSON value: it {why}"))
        };
        match self.output {
            Output::Ignored => Ok(Json::null()),
            Output::Text => Json::encode(&text).map_err(|invalid| refused(invalid.why)),
            Output::Whole | Output::LastLine if text.trim().is_empty() => Ok(Json::null()),
            Output::Whole | Output::LastLine => {
                Json::parse(text.trim()).map_err(|invalid| refused(invalid.why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(output: Output, writes: &[&str]) -> Result<String, String> {
        let mut stdout = Stdout::new(output, 20);
        for write in writes {
            if !stdout.take(write.as_bytes()) {
                break;
            }
        }
        stdout.into_output().map(|json| json.to_string()).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn the_whole_is_one_json_value_and_nothing_is_null() {
        assert_eq!(output(Output::Whole, &["{\"a\":", " 1}\n"]), Ok("{\"a\": 1}".into()));
        assert_eq!(output(Output::Whole, &[" \n"]), Ok("null".into()));
        assert!(
            output(Output::Whole, &["1\n2\n"])
                .is_err_and(|why| why.contains("Discard: ") && why.contains("no JSON value"))
        );
    }

    #[test]
    fn the_last_line_that_is_not_blank_counts_with_or_without_its_end() {
        assert_eq!(output(Output::LastLine, &["garbage\n[1,", "2]\n \n\n"]), Ok("[1,2]".into()));
        assert_eq!(output(Output::LastLine, &["garbage\n", "3"]), Ok("3".into()));
        assert_eq!(output(Output::LastLine, &["\n"]), Ok("null".into()));
        // Each line has its own bound.
        assert_eq!(output(Output::LastLine, &["0123456789\n0123456789\n0123456789\n4"]), Ok("4".into()));
        assert!(output(Output::LastLine, &["0123456789", "01234567890\n4"]).is_err());
    }

    #[test]
    fn text_is_a_json_string_and_ignored_is_null() {
        assert_eq!(output(Output::Text, &["a \"b\"\n"]), Ok("\"a \\\"b\\\"\\n\"".into()));
        assert_eq!(output(Output::Ignored, &["a", &"b".repeat(100)]), Ok("null".into()));
    }

    #[test]
    fn the_bound_is_the_last_byte_that_fits() {
        assert_eq!(output(Output::Text, &[&"a".repeat(20)]), Ok(format!("\"{}\"", "a".repeat(20))));
        assert!(
            output(Output::Text, &["a", &"a".repeat(20)])
                .is_err_and(|why| why.contains("more than 20 bytes"))
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_no_output() {
        let mut stdout = Stdout::new(Output::Text, 20);
        assert!(stdout.take(b"ab\xff"));
        assert!(stdout.into_output().is_err_and(|failure| failure.message().contains("from byte 2")));
    }
}

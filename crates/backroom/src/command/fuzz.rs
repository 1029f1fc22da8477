//! What reading a command's output must do with any bytes, for `testing::fuzz`.

use backroom_core::bounds::LOG_LINE_BYTES_MAX;

use super::{
    Output,
    stderr::{self, Line, Lines},
    stdout::Stdout,
};

/// Bytes of output that these jobs may have.
const BYTES_MAX: usize = 64;

/// However the output is cut into reads, the lines and the output are the same.
pub(crate) fn output(size: usize, written: &[u8]) {
    let whole = lines(written.len().max(1), written);
    assert_eq!(lines(size, written), whole, "reads of {size} bytes gave other lines");
    for text in &whole {
        // A byte that is no UTF-8 becomes a character of three.
        assert!(text.len() <= 3 * LOG_LINE_BYTES_MAX, "a line of {} bytes", text.len());
        if let Line::Progress(percent, _) = stderr::line(text) {
            assert!(percent <= 100, "{text:?}");
        }
    }
    for kind in [Output::Whole, Output::LastLine, Output::Text, Output::Ignored] {
        let answer = stdout(kind, size, written);
        assert_eq!(answer, stdout(kind, written.len().max(1), written), "{kind:?} in reads of {size} bytes");
        if let Ok(text) = answer {
            // An output that is text is escaped.
            assert!(text.len() <= 6 * BYTES_MAX + 2, "{kind:?}: an output of {} bytes", text.len());
        }
    }
}

fn lines(size: usize, written: &[u8]) -> Vec<String> {
    let (mut reader, mut seen) = (Lines::default(), Vec::new());
    written.chunks(size).for_each(|read| reader.take(read, |line| seen.push(line.to_owned())));
    reader.finish(|line| seen.push(line.to_owned()));
    seen
}

fn stdout(kind: Output, size: usize, written: &[u8]) -> Result<String, String> {
    let mut stdout = Stdout::new(kind, BYTES_MAX);
    for read in written.chunks(size) {
        if !stdout.take(read) {
            break;
        }
    }
    stdout.into_output().map(|output| output.to_string()).map_err(|failure| format!("{failure:?}"))
}

//! What readers do not see of the jobs that send messages: what they do not see of the jobs that the messages are about.

use serde::Deserialize;

use super::{callback, forward};
use crate::{JobRow, bounds, redact::POINTERS_MAX};

/// Where the output stands in the args of a job that sends a message.
const OUTPUT: &str = "/event/output";
/// Texts that may have values of hidden fields of the args. The message does not have these, so each text is hidden as a whole.
const TEXTS: [&str; 3] = ["/event/error", "/event/reason", "/event/progress/message"];

/// JSON pointers into the args of a job that sends a message, for the fields that are hidden in the job that it is about.
pub fn hidden_within(hidden: &[String]) -> Vec<String> {
    if hidden.is_empty() {
        return Vec::new();
    }
    let mut fields: Vec<_> = hidden.iter().map(|pointer| format!("{OUTPUT}{pointer}")).collect();
    let is_long = |field: &String| field.len() > bounds::UNIQUE_KEY_BYTES_MAX;
    if fields.len() + TEXTS.len() > POINTERS_MAX || fields.iter().any(is_long) {
        fields = vec![OUTPUT.to_owned()];
    }
    fields.extend(TEXTS.map(str::to_owned));
    fields
}

/// The kind of the job that the message is about which this job sends; none for other jobs.
pub fn kind_within(job: &JobRow) -> Option<String> {
    #[derive(Deserialize)]
    struct Args {
        event: Event,
    }
    #[derive(Deserialize)]
    struct Event {
        kind: String,
    }
    if ![callback::KIND, forward::KIND].contains(&job.kind.as_str()) {
        return None;
    }
    serde_json::from_str::<Args>(job.args.as_str()).ok().map(|args| args.event.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Pointer;

    #[test]
    fn a_job_that_hides_nothing_hides_nothing_of_its_messages() {
        assert!(hidden_within(&[]).is_empty());
    }

    #[test]
    fn hidden_fields_are_hidden_in_the_output_and_texts_as_a_whole() {
        let within = hidden_within(&["/card/number".into()]);
        assert_eq!(within, ["/event/output/card/number", TEXTS[0], TEXTS[1], TEXTS[2]]);
    }

    #[test]
    fn more_or_longer_pointers_than_a_job_may_have_hide_the_whole_output() {
        let long = format!("/{}", "a".repeat(bounds::UNIQUE_KEY_BYTES_MAX - 1));
        for hidden in [vec![long], (0..POINTERS_MAX).map(|number| format!("/{number}")).collect()] {
            let within = hidden_within(&hidden);
            assert_eq!(within[0], OUTPUT);
            assert!(
                within.len() <= POINTERS_MAX
                    && within.iter().all(|pointer| pointer.parse::<Pointer>().is_ok())
            );
        }
    }
}

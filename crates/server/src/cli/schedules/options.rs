//! When a schedule fires and what it starts, as written on a command line.

use std::time::Duration;

use backroom::{
    Json, RetryPolicy,
    core::schedule::{
        Spec,
        policy::{CatchUp, Dst, OnFailure, Overlap},
    },
};
use clap::Args;

use crate::{
    schedules::{
        form::{Bound, Form, bound},
        short,
    },
    terminal::{
        Problem,
        parse::{key_and_value, span},
    },
};

/// Where and between which moments.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct WhenOptions {
    /// The zone whose wall clock counts, such as Europe/Oslo [default: UTC]
    #[arg(long, short, value_name = "ZONE", help_heading = "When")]
    pub(super) zone: Option<String>,

    /// When it does not fire although an expression says so; may be given several times
    #[arg(long, value_name = "EXPR", help_heading = "When")]
    pub(super) except: Vec<String>,

    /// No occurrence before this moment: 2026-12-24T18:00 in the zone, or 2026-12-24T18:00:00Z
    #[arg(long, value_name = "MOMENT", value_parser = bound, help_heading = "When")]
    pub(super) starts_at: Option<Bound>,

    /// No occurrence after this moment
    #[arg(long, value_name = "MOMENT", value_parser = bound, help_heading = "When")]
    pub(super) ends_at: Option<Bound>,

    /// Where clocks are changed: once (as cron does) or literal [default: once]
    #[arg(long, value_name = "POLICY", value_parser = short::dst, help_heading = "When")]
    pub(super) dst: Option<Dst>,
}

/// The policies of a schedule, and its job.
#[derive(Debug, Clone, Args)]
pub(super) struct PutOptions {
    /// When it fires: '0 2 * * *', '@daily', 'every 15m', 'at 2026-12-24T18:00', 'quartz 0 0 2 * * ?' or the lines of a
    /// recurrence rule. Several are a union
    #[arg(long, short, value_name = "EXPR", required_unless_present = "file", help_heading = "When")]
    pub(super) when: Vec<String>,

    #[command(flatten)]
    pub(super) options: WhenOptions,

    /// Delay each occurrence by less than this span, always by the same one
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = "When")]
    jitter: Option<Duration>,

    /// End after so many runs
    #[arg(long, value_name = "N", help_heading = "When")]
    max_runs: Option<u64>,

    /// It is meant to fire more often than every ten seconds
    #[arg(long, help_heading = "When")]
    frequent: bool,

    /// Put it paused
    #[arg(long, help_heading = "When")]
    paused: bool,

    /// While a run is going: skip, buffer_one, 'buffer_all N', cancel_other or allow_all [default: skip]
    #[arg(long, value_name = "POLICY", value_parser = short::overlap, help_heading = "Policies")]
    overlap: Option<Overlap>,

    /// After an outage: once, 'once 2h', 'all 6h 50' or none [default: once 1h]
    #[arg(long, value_name = "POLICY", value_parser = short::catch_up, help_heading = "Policies")]
    catch_up: Option<CatchUp>,

    /// When a run fails: go_on or pause [default: go_on]
    #[arg(long, value_name = "POLICY", value_parser = short::on_failure, help_heading = "Policies")]
    on_failure: Option<OnFailure>,

    /// Report the schedule as overdue when no run succeeds within this span
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = "Policies")]
    deadman: Option<Duration>,

    /// The URL that is called back when the schedule is overdue or failing, and when it is well again
    #[arg(long, value_name = "URL", help_heading = "Policies")]
    notify: Option<String>,

    /// The kind of its jobs
    #[arg(long, short, value_name = "KIND", required_unless_present = "file", help_heading = "Job")]
    kind: Option<String>,

    /// The args of its jobs, a template: '{"day": "{{nominal | date}}"}'
    #[arg(long, short, value_name = "JSON", help_heading = "Job")]
    args: Option<String>,

    /// The queue its jobs wait in [default: default]
    #[arg(long, short, value_name = "NAME", help_heading = "Job")]
    queue: Option<String>,

    /// A key inside the queue
    #[arg(long, value_name = "KEY", help_heading = "Job")]
    lane: Option<String>,

    /// 0 (served first) to 9 (last) [default: 5]
    #[arg(long, short, value_name = "0-9", allow_negative_numbers = true, help_heading = "Job")]
    priority: Option<u8>,

    /// Cancel a job that has not begun this long after it was due
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = "Job")]
    expire_after: Option<Duration>,

    /// Attempts allowed, the first included [default: 20, or one more than a list of waits has]
    #[arg(long, value_name = "N", help_heading = "Job")]
    max_attempts: Option<u32>,

    /// The waits between attempts: quartic, 'constant 30s', 'linear 1m', 'exponential 10s cap 1h jitter 20' or 'list 1s 10s 1m'
    #[arg(long, value_name = "POLICY", value_parser = short::retry, help_heading = "Job")]
    retry: Option<RetryPolicy>,

    /// Longest run of one attempt
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = "Job")]
    timeout: Option<Duration>,

    /// A label to filter by; may be given several times
    #[arg(long, short, value_name = "TAG", help_heading = "Job")]
    tag: Vec<String>,

    /// Free data; may be given several times
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = key_and_value, help_heading = "Job")]
    meta: Vec<(String, String)>,
}

/// Reads expressions.
pub(super) fn specs(texts: &[String]) -> Result<Vec<Spec>, Problem> {
    Ok(texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)
}

impl WhenOptions {
    /// The part of a form that they set.
    pub(super) fn form(self, when: &[String]) -> Result<Form, Problem> {
        Ok(Form {
            when: specs(when)?,
            except: specs(&self.except)?,
            zone: self.zone,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            dst: self.dst,
            ..Form::default()
        })
    }
}

impl PutOptions {
    /// The whole form.
    pub(super) fn form(self) -> Result<Form, Problem> {
        let meta_len = self.meta.len();
        let meta: std::collections::BTreeMap<_, _> = self.meta.into_iter().collect();
        if meta.len() < meta_len {
            return Err(Problem::new("accept the input", &"a meta key is given twice"));
        }
        Ok(Form {
            jitter: self.jitter,
            max_runs: self.max_runs,
            frequent: self.frequent,
            paused: self.paused,
            overlap: self.overlap,
            catch_up: self.catch_up,
            on_failure: self.on_failure,
            deadman: self.deadman,
            notify: self.notify,
            kind: self.kind.unwrap_or_default(),
            args: self.args.map(Json::parse).transpose()?,
            queue: self.queue,
            lane: self.lane,
            priority: self.priority,
            expire_after: self.expire_after,
            max_attempts: self.max_attempts,
            retry: self.retry,
            timeout: self.timeout,
            tags: self.tag,
            meta,
            ..self.options.form(&self.when)?
        })
    }
}

//! The list of settings, continued: tables of which there are several, each with a name, such as `[kinds.NAME]`.

use std::{path::PathBuf, time::Duration};

use backroom::{
    RetryPolicy,
    core::schedule::policy::{CatchUp, Dst, OnFailure, Overlap},
};

use super::{
    kinds::{CommandLine, OutputChoice},
    schedules::{Args, Expressions, Zone},
    table::{Shown, Table, TableKey, Takes, tables},
    value::{Bytes, Pairs, Priority, Raw, Secret, Value, Wait},
};
use crate::schedules::form::Bound;

tables! {
    table kinds: Kind, Restart, ["A kind of jobs that the server or `backroom work` runs: with a command of this machine, or with an HTTP endpoint. \
        The table's name is the kind, such as `[kinds.thumbnail]`. A name with a dot needs quotes, as in `[kinds.\"mail.send\"]`. \
        docs/commands.md describes what a command gets and what it answers. docs/languages.md does the same for an endpoint."] {
        /// The URL of an HTTP endpoint, in place of a command. No job can choose it.
        url: Option<String> = "", Url;

        /// Endpoint: secrets that requests are signed with, as Standard Webhooks writes them: `whsec_…`.
        secrets: Vec<Secret> = "", Secret;

        /// Endpoint: whether requests are sent without a signature while there is no secret.
        allow_unsigned: bool = "false", Plain;

        /// Command: the longest attempt. Then it is ended, and the attempt counts as timed out. Default: no limit.
        /// Endpoint: how long a whole request may take. Default: 60 s. A job's own timeout counts, too.
        timeout: Option<Duration> = "", Plain;

        /// Endpoint: how long it has to report after an answer of 202. The job keeps its slot for so long.
        report_within: Duration = "1h", Plain;

        /// Endpoint: no request of this kind begins while the worker has so many to its host, those of its other endpoint kinds included.
        connections: u64 = "16", Plain;

        /// Endpoint: after so many failures in a row no job of the kind is claimed for `breaker_pause`.
        breaker_failures: u64 = "10", Plain;

        /// Endpoint: how long no job is claimed then. After it one job shows whether the endpoint is back.
        breaker_pause: Duration = "30s", Plain;

        /// The program and its arguments, each a string. No job can choose them.
        command: CommandLine = "", Plain;

        /// The folder that the command starts in. Default: that of the worker.
        folder: Option<PathBuf> = "", Plain;

        /// Variables of the command's environment.
        env: Pairs = "", Hidden;

        /// Variables of the worker that the command gets, too.
        pass_env: Vec<String> = "HOME,LANG,LC_ALL,PATH,TMPDIR,TZ", Plain;

        /// The user that the command runs as. Only a worker that runs as root can choose.
        user: Option<String> = "", Plain;

        /// What of the command's stdout is the output of the job.
        output: OutputChoice = "whole", Plain;

        /// Largest output. At most 1MiB.
        output_bytes: Bytes = "1MiB", Plain;

        /// From SIGTERM to SIGKILL when the command must end.
        grace: Duration = "5s", Plain;

        /// How long exit code 69 of a command, or an answer of 429 or 503, postpones the job, unless it says how long.
        snooze: Duration = "60s", Plain;

        /// Most memory.
        memory: Option<Bytes> = "", Plain;

        /// Most seconds of CPU time of each of its processes.
        cpu_secs: Option<u64> = "", Plain;

        /// Most processes and threads.
        processes: Option<u64> = "", Plain;

        /// Most open files of each of its processes.
        open_files: Option<u64> = "", Plain;

        /// A delegated folder of control groups (cgroup v2), in which each run gets one of its own.
        cgroup: Option<PathBuf> = "", Plain;
    }

    table sensitive: Sensitive, Restart, ["What is secret in the jobs of a kind. The table's name is the kind, such as `[sensitive.payroll]`. \
        docs/sealed.md describes sealed kinds, docs/security.md the rest."] {
        /// The name of the key that args, outputs, progress, logs and errors are sealed with. A server without `keys` refuses jobs
        /// of the kind whose args are not sealed; a worker with `keys` opens and seals them.
        sealed: Option<String> = "", Plain;

        /// Fields of args, outputs and errors that are hidden from readers, as JSON pointers such as `/card/number`; `*` stands for any name or
        /// place. Callers with the scope `admin` can ask for them, and the audit log says so.
        hide: Vec<String> = "", Plain;

        /// The only queue that jobs of the kind may be in. Jobs for another queue are refused.
        queue: Option<String> = "", Plain;
    }

    table secure_queues: SecureQueue, Restart, ["A queue whose jobs only some tokens may claim and read. The table's name is the queue, such as \
        `[secure_queues.payroll]`. Others can enqueue into it, if their tokens permit it."] {
        /// The tokens, by id. Their scopes say what each of them may do.
        tokens: Vec<String> = "", Plain;
    }

    table triggers: Trigger, Restart, ["Something outside that starts jobs: files of a folder, requests of other services, messages of a broker. \
        The table's name is that of the trigger, such as `[triggers.uploads]`. docs/triggers/ has a page for each type."] {
        /// What starts the jobs: `amqp`, `azure-queue`, `folder`, `hook`, `mqtt`, `nats`, `objects`, `postgres`, `redis`, `sqlite` or `sqs`.
        /// Each type has the keys below that its page names.
        r#type: Option<String> = "", Plain;

        /// The kind of the jobs: a name, or a template such as `{{header.type}}`.
        kind: Option<String> = "", Plain;

        /// Kinds that a template may name. Other deliveries are refused.
        kinds: Vec<String> = "", Plain;

        /// The queue of the jobs: a name or a template. Default: `default`.
        queue: Option<String> = "", Plain;

        /// The lane of the jobs: a name or a template.
        lane: Option<String> = "", Plain;

        /// The priority of the jobs.
        priority: Option<Priority> = "", Plain;

        /// The jobs may run this much later.
        delay: Wait = "0s", Plain;

        /// Longest run of one attempt of the jobs.
        timeout: Option<Duration> = "", Plain;

        /// Attempts that the jobs may take.
        max_attempts: Option<u64> = "", Plain;

        /// Labels of the jobs.
        tags: Vec<String> = "", Plain;

        /// How the body of a delivery is read: `json`, `text` (it becomes a string) or `base64` (it becomes a string in base64).
        body: String = "json", Plain;

        /// The args of the jobs are the value at this JSON pointer of the body.
        pointer: Option<String> = "", Plain;

        /// The args of the jobs: JSON with places such as `{{body/id}}` and `{{header.subject}}`. Without it and `pointer`, the whole body.
        args: Option<serde_json::Value> = "", Plain;

        /// Conditions that a delivery must meet, such as `header.x-github-event == push`. Others are left out.
        filter: Vec<String> = "", Plain;

        /// How long a job stands for its delivery: one that comes again within this time makes no second job. `0s` for never.
        unique_for: Wait = "24h", Plain;

        /// Where messages about the jobs go: a reply queue, or `broker:NAME/ADDRESS` with the name of a table `[brokers.NAME]`; a name or a
        /// template, such as `broker:shop/{{header.reply-to}}`. A delivery for which it is `null` gets none.
        reply_to: Option<String> = "", Plain;

        /// The correlation id of those messages.
        correlation_id: String = "{{header.correlation-id}}", Plain;

        /// Type `folder`: the folder. Type `sqlite`: the file.
        path: Option<PathBuf> = "", Plain;

        /// Type `folder`: whether the folders below it are read, too.
        recursive: bool = "true", Plain;

        /// Types `folder` and `objects`: only files or objects that fit one of these patterns, such as `*.jpg` or `orders/**/*.csv`.
        names: Vec<String> = "", Plain;

        /// Types `folder` and `objects`: those that are left out, by patterns of the same form.
        ignore: Vec<String> = "", Plain;

        /// Types `folder` and `objects`: what counts: `created`, `changed`, `removed`.
        events: Vec<String> = "created,changed", Plain;

        /// Type `folder`: what is done with symbolic links: `ignore` or `follow`.
        symlinks: String = "ignore", Plain;

        /// Types `folder` and `objects`: whether what is there at the first start counts as created. Types `redis` and `nats`: whether
        /// messages that are in the stream before the first start count.
        existing: bool = "true", Plain;

        /// Type `folder`: how long size and time of a file must stay the same before it counts.
        settle: Wait = "2s", Plain;

        /// Types `folder` and `objects`: how often the whole is compared with what is known of it.
        rescan: Duration = "60s", Plain;

        /// Type `hook`: how the sender proves who it is: `standard-webhooks`, `github`, `stripe`, `slack`, `shopify`, `secret`, `basic` or
        /// `none`.
        scheme: Option<String> = "", Plain;

        /// Type `hook`: the secrets that the sender signs with. With several, any of them is right, so that one can be replaced.
        secrets: Vec<Secret> = "", Secret;

        /// Type `hook`: how far the time of a signature may lie from now.
        tolerance: Duration = "5m", Plain;

        /// Type `postgres`: the database, as `postgres://USER:PASSWORD@HOST/DATABASE`. It may be another one than the store's. Types of
        /// brokers: the broker, as `redis://`, `nats://`, `amqp://` or `mqtt://`, each with `USER:PASSWORD@HOST:PORT`. With `rediss://`,
        /// `tls://` (of NATS), `amqps://` or `mqtts://` the connection has TLS. Types `azure-queue` and `sqs`: the URL of the queue. Type `objects`: the
        /// bucket, as `s3://BUCKET/PREFIX` or `azure://ACCOUNT/CONTAINER/PREFIX`.
        url: Option<String> = "", Url;

        /// Type `objects`: where the service is, such as `https://s3.example.com`, if it is not Amazon's or Microsoft's own.
        endpoint: Option<String> = "", Url;

        /// Types `objects` and `sqs`: the region. Default: that of the variables `AWS_…` or of the queue's URL, or `us-east-1`.
        region: Option<String> = "", Plain;

        /// Types `objects` and `sqs`: the id of an access key of Amazon. Default: what the variables `AWS_…` or the role of the machine give.
        access_key: Option<String> = "", Plain;

        /// Types `objects` and `sqs`: the secret of that access key.
        secret_key: Option<Secret> = "", Secret;

        /// Types `azure-queue` and `objects`: the key of an account of Azure Storage. Default: what the variables `AZURE_…` or the identity of the machine give.
        account_key: Option<Secret> = "", Secret;

        /// Types `azure-queue` and `objects`: a shared access signature of Azure Storage, in place of a key: `sv=…&sig=…`.
        sas: Option<Secret> = "", Secret;

        /// Types of brokers, and types `azure-queue`, `objects` and `sqs`: a file in PEM with authorities that are trusted besides those that
        /// this machine trusts; with Redis, in place of them.
        ca_file: Option<PathBuf> = "", Plain;

        /// Types `postgres` and `sqlite`: the table whose changes start jobs.
        table: Option<String> = "", Plain;

        /// Types `postgres` and `sqlite`: what counts: `insert`, `update`, `delete`.
        operations: Vec<String> = "insert,update,delete", Plain;

        /// Types `azure-queue`, `postgres` and `sqlite`: how often the reader looks for something new.
        poll: Duration = "500ms", Plain;

        /// Types of brokers: how many servers read: `one` at a time, in the order of the source, or `every` server that has the trigger.
        readers: String = "one", Plain;

        /// Types `redis` and `nats`: the stream.
        stream: Option<String> = "", Plain;

        /// Type `redis`: the consumer group. It is made if it does not exist.
        group: String = "backroom", Plain;

        /// Type `redis`: the field of an entry that is the body.
        body_field: String = "data", Plain;

        /// Type `redis`: a stream that gets every entry that cannot become a job, with the reason.
        dead_letter_stream: Option<String> = "", Plain;

        /// Type `redis`: whether an entry is deleted once it is acknowledged.
        delete: bool = "false", Plain;

        /// Types `azure-queue`, `nats`, `redis` and `sqs`: how long a message that was delivered to a dead reader waits until it is delivered to another one.
        redeliver_after: Duration = "15s", Plain;

        /// Type `azure-queue`: how the text of a message is written: `base64`, `text`, or `auto`, which takes JSON for text.
        encoding: String = "auto", Plain;

        /// Type `nats`: only messages with this subject, such as `orders.>`.
        subject: Option<String> = "", Plain;

        /// Type `nats`: the durable consumer. It is made if it does not exist. Default: `backroom-` and the name of the trigger.
        consumer: Option<String> = "", Plain;

        /// Type `amqp`: the queue that is read. It must exist.
        source_queue: Option<String> = "", Plain;

        /// Types `nats`, `amqp` and `mqtt`: most messages that the broker delivers before they are acknowledged.
        prefetch: u64 = "2000", Plain;

        /// Type `mqtt`: the topics, such as `sensors/+/temperature`.
        topics: Vec<String> = "", Plain;

        /// Type `mqtt`: the client id, to which the broker binds the session. Default: `backroom-` and the name of the trigger.
        client_id: Option<String> = "", Plain;

        /// Type `mqtt`: how long the broker stores messages while no server reads.
        session_expiry: Duration = "7d", Plain;
    }

    table brokers: BrokerTable, Restart, ["A message broker to which the server sends messages about jobs that were enqueued with `reply_to` \
        set to `broker:NAME/ADDRESS`. The table's name is NAME; ADDRESS is a queue of AMQP, a subject of NATS or a stream of Redis. \
        docs/triggers/replies.md describes them."] {
        /// The broker, as `amqp://`, `nats://` or `redis://`, each with `USER:PASSWORD@HOST:PORT`. With `amqps://`, `tls://` (of NATS) or
        /// `rediss://` the connection has TLS.
        url: Option<String> = "", Url;

        /// A file with certificates of authorities in PEM that are trusted for TLS.
        ca_file: Option<PathBuf> = "", Plain;

        /// The addresses at the broker to which the server sends, as patterns in which `*` stands for any characters. A message to another one
        /// is discarded with this reason. Set it where callers or messages from outside choose the address.
        addresses: Vec<String> = "*", Plain;
    }

    table schedules: ScheduleTable, Reload, ["A schedule: it starts jobs by the clock. The table's name is that of the schedule. The server puts the \
        schedules of its settings when it starts and when it reloads them, and deletes those that the settings no longer have. Schedules that \
        programs, the API or the command line have put stay as they are. docs/schedules.md describes them."] {
        /// When it fires: an expression, or an array of several that are a union.
        when: Expressions = "", Plain;

        /// When it does not fire although an expression says so.
        except: Expressions = "", Plain;

        /// The time zone whose wall clock counts.
        zone: Zone = "UTC", Plain;

        /// No occurrence before this moment.
        starts_at: Option<Bound> = "", Plain;

        /// No occurrence after this moment.
        ends_at: Option<Bound> = "", Plain;

        /// Each occurrence is delayed by less than this span, always by the same one.
        jitter: Option<Duration> = "", Plain;

        /// It ends after so many runs that the clock started.
        max_runs: Option<u64> = "", Plain;

        /// Must be true if it fires more often than every ten seconds.
        frequent: bool = "false", Plain;

        /// It does not fire while this is true. An operator's pause is apart from it, and stays over a reload.
        paused: bool = "false", Plain;

        /// What an occurrence does while a run is still going.
        overlap: Overlap = "skip", Plain;

        /// What happens with occurrences that were missed.
        catch_up: CatchUp = "once 1h", Plain;

        /// What an occurrence does where clocks are changed.
        dst: Dst = "once", Plain;

        /// What a failed run does to the schedule.
        on_failure: OnFailure = "go_on", Plain;

        /// The schedule is reported as overdue when no run succeeds within this span after the last success.
        deadman: Option<Duration> = "", Plain;

        /// A URL that is called back when the schedule is overdue or failing, and when it is well again. A server or worker that sends
        /// callbacks sends it.
        notify: Option<String> = "", Url;

        /// The kind of its jobs.
        kind: Option<String> = "", Plain;

        /// The args of its jobs. Strings in them may hold places such as `{{nominal}}`.
        args: Args = "null", Plain;

        /// The queue of its jobs.
        queue: String = "default", Plain;

        /// A key inside the queue.
        lane: Option<String> = "", Plain;

        /// The priority of its jobs.
        priority: Priority = "5", Plain;

        /// A job that has not begun this long after it was due is cancelled.
        expire_after: Option<Duration> = "", Plain;

        /// Attempts allowed, the first included. Default: 20, or one more than a list of waits has.
        max_attempts: Option<u64> = "", Plain;

        /// The waits between attempts. Default: those of the kind.
        retry: Option<RetryPolicy> = "", Plain;

        /// Longest run of one attempt.
        timeout: Option<Duration> = "", Plain;

        /// Labels of its jobs.
        tags: Vec<String> = "", Plain;

        /// Free data of its jobs.
        meta: Pairs = "", Plain;
    }
}

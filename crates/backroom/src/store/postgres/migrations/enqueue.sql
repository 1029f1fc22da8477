-- `enqueue`: a job from SQL, in the caller's own transaction. It checks what core's `Draft::check` checks, in the same words, and writes
-- the row that the library would write. It runs with the rights of its owner, so a role that may only enqueue needs no right to any
-- table: `GRANT USAGE ON SCHEMA … TO role; GRANT EXECUTE ON FUNCTION ….enqueue TO role`.

-- Refuses what breaks a bound.
CREATE OR REPLACE FUNCTION {schema}.refuse(what text, why text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% %', what, why USING ERRCODE = 'invalid_parameter_value';
END $$;

-- As `bounds::check_text`: so many bytes, and no control character. Looked for in the bytes of UTF-8, because classes of characters depend
-- on the language of the database.
CREATE OR REPLACE FUNCTION {schema}.check_text(what text, value text, bytes_max integer) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF value = '' THEN
        PERFORM {schema}.refuse(what, 'is empty; give it at least one character');
    END IF;
    IF octet_length(value) > bytes_max THEN
        PERFORM {schema}.refuse(what, format('is %s bytes long; at most %s are allowed', octet_length(value), bytes_max));
    END IF;
    IF encode(convert_to(value, 'UTF8'), 'hex') ~ '^(..)*([01].|7f|c2[89].)' THEN
        PERFORM {schema}.refuse(what, format('%s holds a control character; remove it', to_json(value)));
    END IF;
END $$;

-- As `bounds::check_name`: a text of at most 128 bytes without white space at its ends.
CREATE OR REPLACE FUNCTION {schema}.check_name(what text, name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- The characters that Unicode calls white space, without control characters, in UTF-8.
    space CONSTANT text := '(20|c2a0|e19a80|e2808[0-9a]|e280a[89f]|e2819f|e38080)';
    hex text;
BEGIN
    PERFORM {schema}.check_text(what, name, 128);
    hex := encode(convert_to(name, 'UTF8'), 'hex');
    IF hex ~ ('^' || space) OR hex ~ ('^(..)*' || space || '$') THEN
        PERFORM {schema}.refuse(what, format('%s begins or ends with white space; trim it', to_json(name)));
    END IF;
END $$;

-- As `check_is_callers` in core: names of Backroom itself are refused.
CREATE OR REPLACE FUNCTION {schema}.check_own_name(what text, name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM {schema}.check_name(what, name);
    IF starts_with(name, 'backroom.') THEN
        PERFORM {schema}.refuse(what, format('%s begins with "backroom.", as names of Backroom itself do; use another name', to_json(name)));
    END IF;
END $$;

-- Whole milliseconds of a span of at most ten years.
CREATE OR REPLACE FUNCTION {schema}.span_ms(what text, span interval) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    secs numeric := extract(epoch FROM span);
BEGIN
    IF secs < 0 THEN
        PERFORM {schema}.refuse(what, 'is negative');
    END IF;
    IF secs > 316224000 THEN
        PERFORM {schema}.refuse(what, format('of %s s is longer than ten years; check the unit', floor(secs)));
    END IF;
    RETURN floor(secs * 1000);
END $$;

-- How deep arrays and objects are nested in JSON: what is left when strings are gone is taken away from the inside. Nearly all texts have
-- fewer brackets than levels are allowed.
CREATE OR REPLACE FUNCTION {schema}.check_depth(args text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    brackets text;
    depth integer := 0;
BEGIN
    IF length(args) - length(translate(args, '[{', '')) <= 100 THEN
        RETURN;
    END IF;
    brackets := regexp_replace(args, '"(\\.|[^"\\])*"', '', 'g');
    brackets := regexp_replace(brackets, '[^][{}]', '', 'g');
    WHILE brackets <> '' LOOP
        depth := depth + 1;
        IF depth > 100 THEN
            PERFORM {schema}.refuse('JSON', 'is nested too deep; at most 100 levels are allowed');
        END IF;
        brackets := replace(replace(brackets, '[]', ''), '{}', '');
    END LOOP;
END $$;

-- Names a queue. Another transaction may be about to name it; then it is left to that one. To wait could make a deadlock of two callers who
-- name queues in different orders.
CREATE OR REPLACE FUNCTION {schema}.name_queue(queue text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
BEGIN
    INSERT INTO {schema}.queues (name) VALUES (name_queue.queue) ON CONFLICT DO NOTHING;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
    -- The next enqueue names it.
    RETURN;
END $$;

-- The extras of a job, as `Extras::stored` writes them: without white space, because claims search in the text. NULL if nothing is set.
CREATE OR REPLACE FUNCTION {schema}.extras_of(
    timeout interval, retry_delays interval[], meta jsonb, traceparent text, reply_to text, correlation_id text, reply_on text[]
) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kinds CONSTANT text[] := ARRAY['started', 'progress', 'failed_attempt', 'completed', 'discarded', 'cancelled'];
    fields text := '';
    part text;
    key text;
    value jsonb;
BEGIN
    IF timeout IS NOT NULL THEN
        IF {schema}.span_ms('timeout', timeout) = 0 THEN
            PERFORM {schema}.refuse('timeout', 'is less than a millisecond; leave it out for no limit');
        END IF;
        fields := fields || ',"timeout_ms":' || {schema}.span_ms('timeout', timeout);
    END IF;
    IF retry_delays IS NOT NULL THEN
        IF cardinality(retry_delays) NOT BETWEEN 1 AND 100 OR array_position(retry_delays, NULL) IS NOT NULL THEN
            PERFORM {schema}.refuse('retry policy', format('lists %s delays; give 1 to 100', cardinality(retry_delays)));
        END IF;
        SELECT string_agg({schema}.span_ms('retry delay', delay)::text, ',' ORDER BY place) INTO part
            FROM unnest(retry_delays) WITH ORDINALITY AS listed (delay, place);
        fields := fields || ',"retry":{"backoff":{"list":[' || part || ']},"jitter_percent":10,"cap_ms":86400000}';
    END IF;
    IF meta IS NOT NULL AND meta <> '{}' THEN
        IF jsonb_typeof(meta) <> 'object' THEN
            PERFORM {schema}.refuse('meta', 'is no JSON object');
        END IF;
        IF (SELECT count(*) FROM jsonb_object_keys(meta)) > 64 THEN
            PERFORM {schema}.refuse('meta', format('has %s entries; at most 64 are allowed', (SELECT count(*) FROM jsonb_object_keys(meta))));
        END IF;
        part := '';
        FOR key, value IN SELECT each.key, each.value FROM jsonb_each(meta) AS each ORDER BY each.key COLLATE "C" LOOP
            PERFORM {schema}.check_name('meta key', key);
            IF jsonb_typeof(value) <> 'string' THEN
                PERFORM {schema}.refuse('meta value', format('of %s is no string', to_json(key)));
            END IF;
            IF octet_length(value #>> '{}') > 4096 THEN
                PERFORM {schema}.refuse('meta value',
                    format('of %s is %s bytes long; at most 4096 are allowed', to_json(key), octet_length(value #>> '{}')));
            END IF;
            part := part || ',' || to_json(key) || ':' || to_json(value #>> '{}');
        END LOOP;
        fields := fields || ',"meta":{' || substr(part, 2) || '}';
    END IF;
    IF traceparent IS NOT NULL THEN
        IF octet_length(traceparent) > 128
            OR traceparent !~ '^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?$'
            OR (starts_with(traceparent, '00') AND octet_length(traceparent) <> 55) THEN
            PERFORM {schema}.refuse('traceparent', format('%s is none; use version-traceid-parentid-flags in lower-case hexadecimal '
                'digits, like 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', to_json(traceparent)));
        END IF;
        fields := fields || ',"traceparent":' || to_json(traceparent);
    END IF;
    IF reply_to IS NOT NULL THEN
        PERFORM {schema}.check_own_name('reply_to', reply_to);
        IF correlation_id IS NOT NULL THEN
            PERFORM {schema}.check_text('correlation_id', correlation_id, 256);
        END IF;
        SELECT asked INTO part FROM unnest(reply_on) AS asked WHERE asked IS NULL OR asked <> ALL (kinds) LIMIT 1;
        IF FOUND THEN
            PERFORM {schema}.refuse('kind of message',
                format('%s is unknown; use one of %s', coalesce(to_json(part)::text, 'NULL'), array_to_string(kinds, ', ')));
        END IF;
        IF cardinality(reply_on) = 0 THEN
            PERFORM {schema}.refuse('reply_on', 'names no kind of message; leave it out for the job''s end');
        END IF;
        SELECT string_agg('"' || kind || '"', ',' ORDER BY place) INTO part
            FROM unnest(kinds) WITH ORDINALITY AS known (kind, place)
            WHERE kind = ANY (coalesce(reply_on, ARRAY['completed', 'discarded', 'cancelled']));
        fields := fields || ',"reply":{"to":' || to_json(reply_to) || ',"correlation_id":'
            || coalesce(to_json(correlation_id)::text, 'null') || ',"on":[' || part || ']}';
    ELSIF correlation_id IS NOT NULL OR reply_on IS NOT NULL THEN
        PERFORM {schema}.refuse('reply_to', 'is missing, and correlation_id and reply_on need it');
    END IF;
    RETURN CASE WHEN fields = '' THEN NULL ELSE '{"v":1' || fields || '}' END;
END $$;

-- Enqueues a job and answers with its id, or with that of the job that holds its unique key. The job exists exactly if the caller's
-- transaction commits; workers are notified then.
CREATE OR REPLACE FUNCTION {schema}.enqueue(
    kind           text,
    args           jsonb       DEFAULT 'null',
    queue          text        DEFAULT 'default',
    lane           text        DEFAULT NULL,
    priority       integer     DEFAULT 5,
    delay          interval    DEFAULT NULL,
    run_at         timestamptz DEFAULT NULL,
    expires_in     interval    DEFAULT NULL,
    expires_at     timestamptz DEFAULT NULL,
    timeout        interval    DEFAULT NULL,
    max_attempts   integer     DEFAULT NULL,
    retry_delays   interval[]  DEFAULT NULL,
    unique_key     text        DEFAULT NULL,
    unique_while   text        DEFAULT NULL,
    unique_for     interval    DEFAULT NULL,
    on_conflict    text        DEFAULT 'keep',
    tags           text[]      DEFAULT NULL,
    meta           jsonb       DEFAULT NULL,
    traceparent    text        DEFAULT NULL,
    reply_to       text        DEFAULT NULL,
    correlation_id text        DEFAULT NULL,
    reply_on       text[]      DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    now_at      CONSTANT timestamptz := clock_timestamp();
    micros      CONSTANT bigint := floor(extract(epoch FROM now_at) * 1000000);
    -- A UUID of version 7: the milliseconds, their fraction, and 62 random bits.
    job_id      CONSTANT uuid := (lpad(to_hex(micros / 1000), 12, '0') || '7' || lpad(to_hex((micros % 1000) * 4096 / 1000), 3, '0')
        || substr(replace(gen_random_uuid()::text, '-', ''), 17))::uuid;
    the_args    CONSTANT text := coalesce(enqueue.args, 'null')::text;
    the_queue   CONSTANT text := coalesce(enqueue.queue, 'default');
    the_extras  text;
    the_tags    jsonb;
    due_at      timestamptz := now_at;
    end_at      timestamptz;
    attempts    integer := coalesce(enqueue.max_attempts, cardinality(enqueue.retry_delays) + 1, 20);
    key         text;
    hold        text;
    hold_until  timestamptz;
    holder      record;
    depth_limit bigint;
    waiting     bigint;
    answer      uuid;
    is_stored   boolean := false;
    guarded_as  text;
BEGIN
    IF enqueue.kind IS NULL THEN
        PERFORM {schema}.refuse('kind', 'is NULL; name the handler');
    END IF;
    PERFORM {schema}.check_own_name('kind', enqueue.kind);
    PERFORM {schema}.check_own_name('queue', the_queue);
    -- SQL has no key to seal args with. It runs with the rights of its owner, so a unique key would show whether a secure queue has a job.
    SELECT guarded.what INTO guarded_as FROM {schema}.guarded
        WHERE (guarded.what = 'kind' AND guarded.name = enqueue.kind) OR (guarded.what = 'queue' AND guarded.name = the_queue)
        ORDER BY guarded.what LIMIT 1;
    IF guarded_as = 'kind' THEN
        PERFORM {schema}.refuse('kind', format('%s is sealed, and SQL cannot seal args; enqueue it with the library, the command line '
            'or a client', to_json(enqueue.kind)));
    ELSIF guarded_as = 'queue' THEN
        PERFORM {schema}.refuse('queue', format('%s is secure, and SQL shows no credential; enqueue into it with the library or the API',
            to_json(the_queue)));
    END IF;
    IF enqueue.lane IS NOT NULL THEN
        PERFORM {schema}.check_name('lane', enqueue.lane);
    END IF;
    IF octet_length(the_args) > 1048576 THEN
        PERFORM {schema}.refuse('args', format('are %s bytes of JSON; at most 1048576 are allowed. Store the bulk elsewhere and pass '
            'where it is', octet_length(the_args)));
    END IF;
    PERFORM {schema}.check_depth(the_args);
    IF coalesce(enqueue.priority, -1) NOT BETWEEN 0 AND 9 THEN
        PERFORM {schema}.refuse('priority', format('is %s; use 0 (first) to 9 (last)', coalesce(enqueue.priority::text, 'NULL')));
    END IF;
    IF attempts NOT BETWEEN 1 AND 10000 THEN
        PERFORM {schema}.refuse('max_attempts', format('is %s; use 1 (no retry) to 10000', attempts));
    END IF;

    IF enqueue.delay IS NOT NULL AND enqueue.run_at IS NOT NULL THEN
        PERFORM {schema}.refuse('delay', 'is set beside run_at; use one of them');
    ELSIF enqueue.delay IS NOT NULL THEN
        PERFORM {schema}.span_ms('delay', enqueue.delay);
        due_at := now_at + make_interval(secs => extract(epoch FROM enqueue.delay)::float8);
    ELSIF enqueue.run_at IS NOT NULL THEN
        IF enqueue.run_at > now_at + interval '316224000 seconds' THEN
            PERFORM {schema}.refuse('start', format('%s lies more than ten years ahead; check the unit', enqueue.run_at));
        END IF;
        IF enqueue.run_at < now_at - interval '5 minutes' THEN
            PERFORM {schema}.refuse('start', format('%s lies in the past (it is %s); leave the time out to run it now', enqueue.run_at, now_at));
        END IF;
        due_at := greatest(enqueue.run_at, now_at);
    END IF;
    IF enqueue.expires_in IS NOT NULL AND enqueue.expires_at IS NOT NULL THEN
        PERFORM {schema}.refuse('expires_in', 'is set beside expires_at; use one of them');
    ELSIF enqueue.expires_in IS NOT NULL THEN
        PERFORM {schema}.span_ms('expiry', enqueue.expires_in);
        end_at := now_at + make_interval(secs => extract(epoch FROM enqueue.expires_in)::float8);
    ELSIF enqueue.expires_at > now_at + interval '316224000 seconds' THEN
        PERFORM {schema}.refuse('expiry', format('%s lies more than ten years ahead; check the unit', enqueue.expires_at));
    ELSE
        end_at := enqueue.expires_at;
    END IF;
    IF end_at <= due_at THEN
        PERFORM {schema}.refuse('expiry', format('%s is not after the start %s; the job could never run', end_at, due_at));
    END IF;

    IF cardinality(enqueue.tags) > 0 THEN
        IF cardinality(enqueue.tags) > 32 THEN
            PERFORM {schema}.refuse('tags', format('are %s; at most 32 are allowed', cardinality(enqueue.tags)));
        END IF;
        IF array_position(enqueue.tags, NULL) IS NOT NULL THEN
            PERFORM {schema}.refuse('tag', 'is NULL');
        END IF;
        PERFORM {schema}.check_name('tag', tag) FROM unnest(enqueue.tags) AS given (tag);
        SELECT given.tag INTO key FROM unnest(enqueue.tags) AS given (tag) GROUP BY given.tag HAVING count(*) > 1 LIMIT 1;
        IF FOUND THEN
            PERFORM {schema}.refuse('tag', format('%s is given twice; once is enough', to_json(key)));
        END IF;
        the_tags := to_jsonb(enqueue.tags);
    END IF;
    the_extras := {schema}.extras_of(enqueue.timeout, enqueue.retry_delays, enqueue.meta, enqueue.traceparent, enqueue.reply_to,
        enqueue.correlation_id, enqueue.reply_on);

    key := NULL;
    IF enqueue.unique_key IS NOT NULL THEN
        PERFORM {schema}.check_text('unique key', enqueue.unique_key, 512);
        key := replace(replace(replace(enqueue.kind, '%', '%25'), '=', '%3D'), '#', '%23') || '=' || enqueue.unique_key;
        hold := coalesce(enqueue.unique_while, CASE WHEN enqueue.unique_for IS NULL THEN 'live' ELSE 'until' END);
        IF hold NOT IN ('live', 'queued') AND (enqueue.unique_while IS NOT NULL) THEN
            PERFORM {schema}.refuse('unique_while', format('is %s; use ''live'' or ''queued'', or leave it out and set unique_for',
                to_json(enqueue.unique_while)));
        END IF;
        IF enqueue.unique_for IS NOT NULL THEN
            IF {schema}.span_ms('unique window', enqueue.unique_for) < 1000 THEN
                PERFORM {schema}.refuse('unique window', 'is zero; give it at least one second');
            END IF;
            hold_until := now_at + make_interval(secs => floor(extract(epoch FROM enqueue.unique_for))::float8);
        END IF;
    ELSIF enqueue.unique_while IS NOT NULL OR enqueue.unique_for IS NOT NULL THEN
        PERFORM {schema}.refuse('unique_key', 'is missing, and unique_while and unique_for need it');
    END IF;
    IF coalesce(enqueue.on_conflict, '') NOT IN ('keep', 'replace', 'reject') THEN
        PERFORM {schema}.refuse('on_conflict', format('is %s; use ''keep'', ''replace'' or ''reject''',
            coalesce(to_json(enqueue.on_conflict)::text, 'NULL')));
    END IF;

    SELECT queues.depth_max INTO depth_limit FROM {schema}.queues WHERE queues.name = the_queue;
    IF NOT FOUND THEN
        PERFORM {schema}.name_queue(the_queue);
    END IF;

    -- Between the search for the holder of a key and the insert, keys may pass from job to job.
    FOR round IN 1..64 LOOP
        INSERT INTO {schema}.jobs (id, kind, queue, lane, priority, state, args, attempt, max_attempts, crashes, scheduled_at, expires_at,
            unique_key, unique_while, unique_until, unique_held, woken, created_at, tags, extras, revision, plain)
        VALUES (job_id, enqueue.kind, the_queue, enqueue.lane, enqueue.priority, 'queued', the_args, 0, attempts, 0, due_at, end_at,
            key, hold, hold_until, key IS NOT NULL, false, now_at, the_tags, the_extras, 0,
            enqueue.lane IS NULL AND end_at IS NULL AND key IS NULL AND enqueue.reply_to IS NULL)
        ON CONFLICT (unique_key) WHERE unique_held DO NOTHING;
        IF FOUND THEN
            answer := job_id;
            is_stored := true;
            EXIT;
        END IF;
        SELECT jobs.id, jobs.state, jobs.unique_until, jobs.revision, jobs.queue INTO holder
            FROM {schema}.jobs WHERE jobs.unique_held AND jobs.unique_key = key;
        CONTINUE WHEN NOT FOUND;
        IF holder.unique_until <= now_at THEN
            UPDATE {schema}.jobs SET unique_held = false, revision = jobs.revision + 1
                WHERE jobs.id = holder.id AND jobs.revision = holder.revision;
            CONTINUE;
        END IF;
        IF enqueue.on_conflict = 'reject' OR (enqueue.on_conflict = 'replace' AND holder.state <> 'queued') THEN
            RAISE EXCEPTION 'job % holds the unique key', holder.id USING ERRCODE = 'unique_violation';
        END IF;
        IF enqueue.on_conflict = 'replace' THEN
            IF EXISTS (SELECT FROM {schema}.guarded WHERE guarded.what = 'queue' AND guarded.name = holder.queue) THEN
                PERFORM {schema}.refuse('on_conflict', format('cannot be ''replace'': job %s in a secure queue holds the unique key', holder.id));
            END IF;
            UPDATE {schema}.jobs SET lane = enqueue.lane, priority = enqueue.priority, args = the_args,
                max_attempts = greatest(attempts, jobs.attempt + 1), scheduled_at = due_at, expires_at = end_at, tags = the_tags,
                extras = the_extras, revision = jobs.revision + 1
                WHERE jobs.id = holder.id AND jobs.revision = holder.revision AND jobs.state = 'queued';
            CONTINUE WHEN NOT FOUND;
            is_stored := true;
        END IF;
        answer := holder.id;
        EXIT;
    END LOOP;
    IF answer IS NULL THEN
        RAISE EXCEPTION 'the unique key changes hands too fast' USING ERRCODE = 'serialization_failure';
    END IF;

    IF depth_limit IS NOT NULL AND answer = job_id THEN
        SELECT count(*) INTO waiting FROM (SELECT FROM {schema}.jobs
            WHERE jobs.state = 'queued' AND jobs.queue = the_queue LIMIT depth_limit + 1) AS counted;
        IF waiting > depth_limit THEN
            RAISE EXCEPTION 'queue % is full: at least % jobs wait, and % may', to_json(the_queue), waiting - 1, depth_limit
                USING ERRCODE = 'configuration_limit_exceeded';
        END IF;
    END IF;
    -- As `notify_within`: a full queue of notifications would fail the caller's commit.
    IF is_stored AND (answer <> job_id OR due_at <= now_at + interval '60 seconds') AND pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('backroom_' || btrim('{schema}', '"'), '0000000000000000b' || floor(extract(epoch FROM due_at)));
        PERFORM pg_notify('backroom_' || btrim('{schema}', '"'), '0000000000000000q' || the_queue);
    END IF;
    RETURN answer;
END $$;

-- An operator grants `enqueue` to the roles that may enqueue.
REVOKE ALL ON FUNCTION {schema}.refuse, {schema}.check_text, {schema}.check_name, {schema}.check_own_name, {schema}.span_ms,
    {schema}.check_depth, {schema}.name_queue, {schema}.extras_of, {schema}.enqueue FROM PUBLIC;

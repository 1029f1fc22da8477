import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Problem, Unreachable, Unsuccessful, WaitTimeout } from "./errors.js";
import { ANSWER_MS, Http, Lost, WAIT_MS, isTemporary, lost, pauseMs, problemOf } from "./http.js";
import type { Enqueued, Job, JobEvent, JobOptions, NewJob } from "./json.js";
import type { Sealing } from "./sealed.js";

/** Jobs in one request of `enqueueMany`, and most characters of one. */
const BATCH_JOBS = 1000;
const BATCH_CHARS = 2 << 20;

export interface ClientOptions {
  token?: string;
  /** How long a call is repeated while the server does not answer, in milliseconds. Default 120,000. */
  patienceMs?: number;
  /** Seals the args of its kinds, and opens their outputs. */
  sealing?: Sealing;
}

/**
 * Enqueues jobs and reads them. Each call that may be repeated is repeated until the server answers. An enqueue bears a random
 * `Idempotency-Key`, so a repeat stores nothing twice.
 */
export class Client {
  readonly #http: Http;
  readonly #patienceMs: number;
  readonly #sealing: Sealing | undefined;

  constructor(server: string, options: ClientOptions = {}) {
    this.#http = new Http(server, options.token);
    this.#patienceMs = options.patienceMs ?? 120_000;
    this.#sealing = options.sealing;
  }

  /** Stores a job and answers its id. */
  async enqueue(
    kind: string,
    args: unknown = null,
    options: JobOptions & { idempotencyKey?: string } = {},
  ): Promise<string> {
    const { idempotencyKey, ...rest } = options;
    const body = JSON.stringify(this.#sealed({ kind, args, ...rest }));
    const headers = { "idempotency-key": idempotencyKey ?? randomUUID() };
    const answer = await this.#http.repeated({ method: "POST", path: "/v1/jobs", body, headers }, this.#patienceMs);
    return JSON.parse(answer.text).id;
  }

  #sealed(job: NewJob): NewJob {
    return this.#sealing === undefined ? job : this.#sealing.job(job);
  }

  /** Stores jobs, up to 1,000 together, all or none. After an error, earlier thousands are stored. */
  async enqueueMany(jobs: Iterable<NewJob>): Promise<Enqueued[]> {
    const outcomes: Enqueued[] = [];
    for (const body of batches(jobs, (job) => this.#sealed(job))) {
      const headers = { "idempotency-key": randomUUID() };
      const request = { method: "POST", path: "/v1/jobs/batch", body, headers };
      const answer = await this.#http.repeated(request, this.#patienceMs);
      for (const outcome of JSON.parse(answer.text).jobs) outcomes.push(outcome);
    }
    return outcomes;
  }

  /** The job as it is now. */
  async get(job: string): Promise<Job> {
    const answer = await this.#http.repeated({ method: "GET", path: path(job) }, this.#patienceMs);
    return JSON.parse(answer.text);
  }

  /** The job once it has ended. Throws `WaitTimeout` after `timeoutMs`. */
  async wait(job: string, timeoutMs = Infinity): Promise<Job> {
    const until = performance.now() + timeoutMs;
    for (;;) {
      const left = Math.max(0, Math.min(WAIT_MS, until - performance.now()));
      const request = { method: "GET", path: `${path(job)}?wait=${Math.floor(left)}ms`, ms: left + ANSWER_MS };
      const found: Job = JSON.parse((await this.#http.repeated(request, this.#patienceMs)).text);
      if (found.finished_at !== null) return found;
      if (performance.now() >= until) throw new WaitTimeout(`job ${job} is ${found.state} after ${timeoutMs} ms`);
    }
  }

  /** The output of the job once it has ended. Throws `Unsuccessful` if it has none. */
  async result(job: string, timeoutMs = Infinity): Promise<any> {
    const found = await this.wait(job, timeoutMs);
    if (found.state !== "completed") throw new Unsuccessful(found);
    return this.#sealing === undefined ? found.output : this.#sealing.result(found);
  }

  /** Cancels a job, or asks a running one to stop. */
  async cancel(job: string, reason?: string): Promise<Job> {
    const request = { method: "POST", path: `${path(job)}/cancel`, body: JSON.stringify({ reason }) };
    return JSON.parse((await this.#http.repeated(request, this.#patienceMs)).text);
  }

  /** Sends a signal to a workflow. It may come before the workflow waits for it. */
  async signal(job: string, name: string, value: unknown = null): Promise<void> {
    // A repeated request is the same signal.
    const body = JSON.stringify({ name, value, id: randomUUID() });
    await this.#http.repeated({ method: "POST", path: `${path(job)}/signals`, body }, this.#patienceMs);
  }

  /** The journal of a workflow, with what it last `published`; null before it begins. No worker is asked. */
  async journal(job: string): Promise<any> {
    const answer = await this.#http.repeated({ method: "GET", path: `${path(job)}/journal` }, this.#patienceMs);
    return JSON.parse(answer.text).journal;
  }

  /**
   * What happens to a job, until it has ended. A connection that breaks is opened again; each line and each attempt comes once.
   */
  async *follow(job: string): AsyncGenerator<JobEvent, void, void> {
    let lastId: string | undefined;
    let lostAt: number | undefined;
    let number = 0;
    for (;;) {
      const leave = new AbortController();
      try {
        const headers: Record<string, string> = { accept: "text/event-stream" };
        if (lastId !== undefined) headers["last-event-id"] = lastId;
        const begin = setTimeout(() => leave.abort(), ANSWER_MS);
        let response;
        try {
          response = await this.#http.open({ method: "GET", path: `${path(job)}/events`, headers }, leave.signal);
        } catch (error) {
          throw lost(error);
        } finally {
          clearTimeout(begin);
        }
        if (response.status !== 200) {
          const answer = { status: response.status, retryAfterMs: 0, text: await response.text().catch(() => "") };
          if (!isTemporary(answer)) throw problemOf(answer);
          throw new Lost(problemOf(answer).message);
        }
        for await (const event of events(response, leave)) {
          [lostAt, number] = [undefined, 0];
          lastId = event.id ?? lastId;
          const data = JSON.parse(event.data);
          if (event.event === "problem") throw new Problem(data.status, data.code, data.detail, data);
          yield { event: event.event as JobEvent["event"], data };
          if (event.event === "state" && data.finished_at !== null) return;
        }
        throw new Lost("the stream ended");
      } catch (error) {
        if (!(error instanceof Lost)) throw error;
        lostAt ??= performance.now();
        if (performance.now() - lostAt > this.#patienceMs) throw new Unreachable(`follow ${job}: ${error.message}`);
        await sleep(pauseMs(number));
        number += 1;
      } finally {
        leave.abort();
      }
    }
  }
}

function path(job: string): string {
  return `/v1/jobs/${encodeURIComponent(job)}`;
}

function* batches(jobs: Iterable<NewJob>, sealed: (job: NewJob) => NewJob): Generator<string> {
  let texts: string[] = [];
  let size = 0;
  for (const job of jobs) {
    const text = JSON.stringify(sealed(job));
    if (texts.length >= BATCH_JOBS || (texts.length > 0 && size + text.length > BATCH_CHARS)) {
      yield `[${texts.join(",")}]`;
      [texts, size] = [[], 0];
    }
    texts.push(text);
    size += text.length + 1;
  }
  if (texts.length > 0) yield `[${texts.join(",")}]`;
}

/** The server sends a comment every 15 s. A stream without any is dead. */
const SILENCE_MS = 60_000;

interface SentEvent {
  id?: string;
  event: string;
  data: string;
}

/** The server-sent events of a response. Half an event at its end is dropped. */
async function* events(response: Response, leave: AbortController): AsyncGenerator<SentEvent> {
  const decoder = new TextDecoder();
  let rest = "";
  let fields: Partial<SentEvent> = {};
  const reader = response.body!.getReader();
  for (;;) {
    const silence = setTimeout(() => leave.abort(), SILENCE_MS);
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      throw lost(error);
    } finally {
      clearTimeout(silence);
    }
    if (part.done) return;
    const lines = (rest + decoder.decode(part.value, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines.map((line) => line.replace(/\r$/, ""))) {
      if (line === "") {
        const { data, event = "message", id } = fields;
        fields = {};
        if (data !== undefined) yield { id, event, data };
        continue;
      }
      const colon = line.indexOf(":");
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (name === "data") fields.data = fields.data === undefined ? value : `${fields.data}\n${value}`;
      if (name === "id" || name === "event") fields[name] = value;
    }
  }
}

import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { Problem, type StopReason } from "./errors.js";
import { ANSWER_MS, Http, Lost, WAIT_MS, isTemporary, pauseMs, problemOf, type Answer } from "./http.js";
import { KeyMissing, OpenError, type Sealing } from "./sealed.js";
import { Driver, type Codes, type WorkflowCode } from "./workflow.js";
import { Run, clip, commitOf, ofError, ofStop, ERROR_BYTES_MAX, type ClaimedJob, type Outcome } from "./run.js";

/** Most ends that wait for their commit. Then no job is claimed. */
const UNRECORDED_MAX = 4000;
/** Most commits and reports in one request, and most characters. */
const BATCH = 1000;
const BATCH_CHARS = 2 << 20;
const LINES_PER_REQUEST = 8000;
/** Reports that no commit waits for are sent so many milliseconds apart. */
const REPORT_MS = 200;
/** How long a handler that was asked to stop may take before its end is committed for it. */
const STOP_MS = 5000;
/** How long a worker that stops tries to have its commits answered. */
const FLUSH_MS = 20_000;
/** A job whose key is missing is claimed again after so many milliseconds. */
const LOCKED_MS = 60_000;

export type Handler = (run: Run) => unknown;

export interface WorkerOptions {
  /** Default: the variable `BACKROOM_SERVER`, or the server on this machine. */
  server?: string;
  /** Default: the variable `BACKROOM_TOKEN`. */
  token?: string;
  /** Each queue with its slots: how many of its jobs run at once. Default `{ default: 10 }`. */
  queues?: Record<string, number>;
  name?: string;
  /** How long the server waits for a worker that is silent before its jobs run elsewhere. Default 30,000. */
  leaseMs?: number;
  /** How long a stop waits for handlers. Default 25,000. */
  graceMs?: number;
  /** Opens the args of its kinds, and seals what their handlers answer. Jobs whose key is missing stay in their queue. */
  sealing?: Sealing;
  /** What the worker reports about itself. Default: to stderr. */
  onLog?: (line: string) => void;
}

/** A run from its claim until the answer to its commit. */
interface Active {
  run: Run;
  began: number;
  hasEnded: boolean;
  commit?: string;
  isReplaced: boolean;
  linesSent: number;
  /** Its args are open, and what it answers is sealed. */
  isOpen: boolean;
  timer?: NodeJS.Timeout;
}

/** Under which name the worker is known. It changes when the server has declared it dead. */
interface Identity {
  name: string;
  instance: string;
}

/** Wakes those that wait for it. A set before the wait counts. */
class News {
  #isSet = false;
  #waiting: (() => void)[] = [];

  set(): void {
    this.#isSet = true;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  clear(): void {
    this.#isSet = false;
  }

  wait(): Promise<void> {
    return this.#isSet ? Promise.resolve() : new Promise((wake) => this.#waiting.push(wake));
  }
}

/** Claims jobs, runs their handlers, and commits what became of them. */
export class Worker {
  readonly #http: Http;
  readonly #queues: Map<string, number>;
  readonly #base: string;
  readonly #leaseMs: number;
  readonly #graceMs: number;
  readonly #sealing: Sealing | undefined;
  readonly #onLog: (line: string) => void;
  readonly #handlers = new Map<string, Handler>();
  /** The code of workflows by their kinds. */
  readonly #workflows = new Map<string, Codes>();
  readonly #runs = new Map<string, Active>();
  readonly #occupied = new Map<string, number>();
  readonly #claims = new Set<string>();
  readonly #freed = new Map<string, News>();
  readonly #news = new News();
  readonly #ended = new News();
  readonly #stop = new AbortController();
  readonly #over = new AbortController();
  #identity: Identity;
  #unrecorded: Active[] = [];
  #isClosing = false;
  #giveUpAt = Infinity;
  #fatal: unknown;

  constructor(options: WorkerOptions = {}) {
    const server = options.server ?? process.env["BACKROOM_SERVER"] ?? "http://127.0.0.1:8080";
    this.#http = new Http(server, options.token ?? (process.env["BACKROOM_TOKEN"] || undefined));
    this.#queues = new Map(Object.entries(options.queues ?? { default: 10 }));
    for (const [queue, slots] of this.#queues) {
      if (!Number.isInteger(slots) || slots < 1) throw new RangeError(`queue ${queue} needs at least one slot`);
      this.#occupied.set(queue, 0);
      this.#freed.set(queue, new News());
    }
    this.#base = options.name ?? hostname();
    this.#leaseMs = options.leaseMs ?? 30_000;
    this.#graceMs = options.graceMs ?? 25_000;
    this.#sealing = options.sealing;
    this.#onLog = options.onLog ?? ((line) => console.error(`backroom: ${line}`));
    this.#identity = this.#newIdentity();
  }

  /** Names the handler of a kind. What it returns, or resolves to, is the output of the job. */
  handles(kind: string, handler: Handler): this {
    if (this.#handlers.has(kind)) throw new TypeError(`kind ${kind} has a handler already`);
    this.#handlers.set(kind, handler);
    return this;
  }

  /** Names the code of a workflow. What it returns, or resolves to, is the output of the job. */
  workflow(kind: string, code: WorkflowCode): this {
    return this.#register(kind, [[undefined, code]]);
  }

  /**
   * Names the code of a workflow by its versions, the newest first: `[["2026", order], ["2025", orderOf2025]]`. A run stays on the version
   * that it began with.
   */
  workflowVersions(kind: string, versions: readonly (readonly [version: string, code: WorkflowCode])[]): this {
    if (versions.length === 0 || new Set(versions.map(([version]) => version)).size < versions.length) {
      throw new TypeError("a workflow needs versions, each with a name of its own");
    }
    return this.#register(kind, versions);
  }

  #register(kind: string, codes: Codes): this {
    this.handles(kind, () => {
      throw new TypeError("a workflow runs by its journal");
    });
    this.#workflows.set(kind, codes);
    return this;
  }

  /** Asks the worker to stop. */
  stop(): void {
    if (!this.#stop.signal.aborted) this.#stop.abort(new Lost("the worker stops"));
  }

  /** Works until SIGTERM, SIGINT or `stop`, then stops in order. A second signal ends the process at once. */
  async run(): Promise<void> {
    const onSignal = () => {
      process.off("SIGTERM", onSignal).off("SIGINT", onSignal);
      this.stop();
    };
    process.on("SIGTERM", onSignal).on("SIGINT", onSignal);
    try {
      await this.serve();
    } finally {
      process.off("SIGTERM", onSignal).off("SIGINT", onSignal);
    }
  }

  /** Works until `stop` is called. */
  async serve(): Promise<void> {
    if (this.#handlers.size === 0) throw new TypeError("the worker has no handler");
    const guarded = async (work: Promise<void>) => {
      try {
        await work;
      } catch (error) {
        if (this.#over.signal.aborted) return;
        this.#fatal ??= error;
        this.stop();
      }
    };
    const claimers = [...this.#queues.keys()].map((queue) => guarded(this.#claimFor(queue)));
    const extender = guarded(this.#extend());
    const recorder = guarded(this.#record());
    if (!this.#stop.signal.aborted) {
      await new Promise<void>((stopped) => this.#stop.signal.addEventListener("abort", () => stopped()));
    }
    await this.#windUp(claimers, recorder);
    this.#over.abort();
    this.#news.set();
    await extender;
    if (this.#fatal !== undefined) throw this.#fatal;
  }

  // The stop.

  async #windUp(claimers: Promise<void>[], recorder: Promise<void>): Promise<void> {
    for (const freed of this.#freed.values()) freed.set();
    const until = performance.now() + this.#graceMs;
    this.#giveUpAt = until + FLUSH_MS;
    await within(Promise.all(claimers), this.#graceMs);
    await this.#untilAllEnded(until);
    for (const active of this.#running()) active.run.askToStop("stopping");
    await this.#untilAllEnded(performance.now() + STOP_MS);
    for (const active of this.#running()) {
      this.#onLog(`job ${active.run.id} (${active.run.kind}) still runs after the stop; it is released`);
      this.#commit(active, { outcome: "release" });
    }
    this.#isClosing = true;
    this.#news.set();
    if (!(await within(recorder, FLUSH_MS))) {
      this.#onLog(`${this.#runs.size} ends could not be committed; their jobs run again`);
    }
    const body = JSON.stringify({ worker: this.#worker() });
    try {
      await this.#http.exchange({ method: "POST", path: "/v1/leases/leave", body, ms: 5000 });
    } catch (error) {
      this.#onLog(`the server did not answer when the worker left: ${(error as Error).message}`);
    }
  }

  #running(): Active[] {
    return [...this.#runs.values()].filter((active) => !active.hasEnded && active.commit === undefined);
  }

  async #untilAllEnded(until: number): Promise<void> {
    while (this.#running().length > 0 && performance.now() < until) {
      this.#ended.clear();
      await within(this.#ended.wait(), until - performance.now());
    }
  }

  // Who the worker is.

  #newIdentity(): Identity {
    return { name: `${this.#base}-${randomUUID().slice(0, 13)}`, instance: randomUUID() };
  }

  #worker() {
    return {
      name: this.#identity.name,
      instance: this.#identity.instance,
      host: hostname(),
      kinds: [...this.#handlers.keys()].sort(),
      keys: this.#sealing?.opening(),
      queues: [...this.#queues].map(([name, slots]) => ({ name, slots })),
      lease_ms: this.#leaseMs,
      stopping: this.#stop.signal.aborted,
      running: [...this.#occupied.values()].reduce((sum, count) => sum + count, 0),
    };
  }

  /** Its jobs run elsewhere. It goes on under another name. */
  #declaredDead(identity: Identity): void {
    if (identity !== this.#identity) return;
    this.#identity = this.#newIdentity();
    this.#onLog(`the server declared worker ${identity.name} dead; it goes on as ${this.#identity.name}`);
    const lost = [...this.#runs.values()];
    this.#runs.clear();
    this.#unrecorded = [];
    for (const active of lost) active.run.askToStop("lost");
    this.#ended.set();
  }

  // Claims: one loop for each queue, so that no queue exceeds its slots.

  async #claimFor(queue: string): Promise<void> {
    const slots = this.#queues.get(queue)!;
    const freed = this.#freed.get(queue)!;
    const occupied = () => this.#occupied.get(queue)!;
    while (!this.#stop.signal.aborted) {
      freed.clear();
      if (occupied() >= slots || this.#unrecorded.length > UNRECORDED_MAX) {
        await freed.wait();
        // Short jobs end close together: one claim for many costs less than many claims for one.
        if (slots > 4 && slots - occupied() < slots / 4) await sleep(2);
        continue;
      }
      for (const job of await this.#claim(queue, Math.min(slots - occupied(), 1000))) this.#begin(job);
    }
  }

  async #claim(queue: string, limit: number): Promise<ClaimedJob[]> {
    const claim = randomUUID();
    const identity = this.#identity;
    let repeated = false;
    this.#claims.add(claim);
    try {
      for (let number = 0; ; number += 1) {
        // A waiting claim counts as a sign of life. A machine that is gone must not seem alive for long.
        const wait_ms = repeated ? 0 : Math.trunc(Math.min(WAIT_MS, this.#leaseMs / 2));
        // Kinds whose key is missing stay in their queue.
        const kinds = this.#sealing && [...this.#handlers.keys()].filter((kind) => this.#sealing?.canOpen(kind));
        const body = JSON.stringify({ worker: this.#worker(), claim, repeated, queues: [queue], kinds, limit, wait_ms });
        let pause = pauseMs(number);
        let why: string;
        try {
          // A stop cuts a waiting claim off. The repeat then says what it took.
          const signal = repeated ? undefined : this.#stop.signal;
          const request = { method: "POST", path: "/v1/claim", body, ms: wait_ms + ANSWER_MS, signal };
          const answer = await this.#http.exchange(request);
          if (!isTemporary(answer)) return this.#checked(answer, identity)?.jobs ?? [];
          pause = Math.max(pause, answer.retryAfterMs);
          why = problemOf(answer).message;
        } catch (error) {
          if (!(error instanceof Lost)) throw error;
          why = error.message;
        }
        // What the claim took is asked for until there is an answer.
        repeated = true;
        if (identity !== this.#identity || performance.now() > this.#giveUpAt) return [];
        if (!this.#stop.signal.aborted) this.#onLog(`a claim has no answer and is repeated: ${why}`);
        await sleep(pause);
      }
    } finally {
      this.#claims.delete(claim);
    }
  }

  /** The JSON of an answer. Undefined, if the worker was declared dead. */
  #checked(answer: Answer, identity: Identity): any {
    if (answer.status < 400) return JSON.parse(answer.text);
    const problem = problemOf(answer);
    if (answer.status !== 409 || problem.code !== "refused") throw problem;
    this.#declaredDead(identity);
    return undefined;
  }

  // Runs.

  #begin(job: ClaimedJob): void {
    const run = new Run(job, () => this.#news.set());
    if (this.#runs.has(key(run))) return;
    const active: Active = { run, began: performance.now(), hasEnded: false, isReplaced: false, linesSent: 0, isOpen: false };
    this.#runs.set(key(run), active);
    this.#occupied.set(run.queue, (this.#occupied.get(run.queue) ?? 0) + 1);
    const handler = this.#handlers.get(run.kind);
    if (this.#stop.signal.aborted || handler === undefined) {
      this.#end(active, { outcome: "release" });
      return;
    }
    if (!this.#opened(active, job)) return;
    if (typeof job.timeout_ms === "number") {
      active.timer = setTimeout(() => this.#timeOut(active), Math.min(job.timeout_ms, 2 ** 31 - 1));
    }
    void this.#do(active, handler);
  }

  /** Opens the args of a sealed kind. False: the run has ended. */
  #opened(active: Active, job: ClaimedJob): boolean {
    const { run } = active;
    if (this.#sealing === undefined || !this.#sealing.seals(run.kind)) return true;
    try {
      run.args = this.#sealing.args(job);
      active.isOpen = true;
      return true;
    } catch (error) {
      if (!(error instanceof OpenError)) throw error;
      if (error instanceof KeyMissing) {
        this.#onLog(`job ${run.id} (${run.kind}) waits for key ${error.key}`);
        run.progress(0, `waits for key ${error.key}`);
        this.#end(active, { outcome: "snooze", delay_ms: LOCKED_MS });
      } else {
        this.#end(active, { outcome: "discard", error: `the args of the job cannot be used: ${error.message}` });
      }
      return false;
    }
  }

  /** The outcome as it is stored. */
  #sealed(active: Active, outcome: Outcome): Outcome {
    const [{ run }, sealing] = [active, this.#sealing];
    if (sealing === undefined || !active.isOpen) return outcome;
    let sealed = { ...outcome };
    try {
      if ("output" in sealed) sealed.output = sealing.value(run.id, run.kind, run.lease, sealed.output);
    } catch (error) {
      const why = clip(`the output is no JSON: ${(error as Error).message}`, ERROR_BYTES_MAX);
      sealed = { outcome: "discard", error: why };
    }
    if (sealed.error !== undefined) {
      sealed.error = sealing.text(run.id, run.kind, `error ${run.lease}`, sealed.error);
    }
    return sealed;
  }

  async #do(active: Active, handler: Handler): Promise<void> {
    let outcome: Outcome | undefined;
    try {
      const codes = this.#workflows.get(active.run.kind);
      if (codes !== undefined) {
        const identity = this.#identity;
        const call = (body: object) => this.#asked({ worker: identity.name, ...body }, identity);
        await new Driver(active.run, call).drive(codes);
        // All of it is recorded.
        this.#end(active, undefined);
        return;
      }
      const output = await handler(active.run);
      outcome = { outcome: "done", output: output === undefined ? null : output };
    } catch (error) {
      outcome = ofError(error, active.run.stopReason);
    }
    this.#end(active, outcome);
  }

  /** One call for a workflow. It is safe to repeat until it has an answer. */
  async #asked(body: object, identity: Identity): Promise<any> {
    return this.#answered("/v1/leases/workflow", JSON.stringify(body), identity);
  }

  #timeOut(active: Active): void {
    active.run.askToStop("timeout");
    active.timer = setTimeout(() => {
      // The handler goes on, and holds its slot until it ends.
      if (!active.hasEnded && active.commit === undefined) this.#commit(active, ofStop("timeout"));
    }, STOP_MS);
  }

  #end(active: Active, outcome: Outcome | undefined): void {
    active.hasEnded = true;
    clearTimeout(active.timer);
    const { queue } = active.run;
    this.#occupied.set(queue, (this.#occupied.get(queue) ?? 1) - 1);
    this.#freed.get(queue)?.set();
    if (active.commit === undefined) this.#commit(active, outcome);
    this.#ended.set();
  }

  /** Undefined: the lease is lost, and nothing is committed. */
  #commit(active: Active, outcome: Outcome | undefined): void {
    if (outcome === undefined || this.#runs.get(key(active.run)) !== active) {
      this.#forget(active);
      return;
    }
    const ranMs = outcome.outcome === "release" ? undefined : Math.trunc(performance.now() - active.began);
    active.commit = commitOf(active.run, this.#sealed(active, outcome), ranMs);
    this.#unrecorded.push(active);
    this.#news.set();
  }

  #forget(active: Active): void {
    if (this.#runs.get(key(active.run)) === active) this.#runs.delete(key(active.run));
  }

  // Heartbeats.

  async #extend(): Promise<void> {
    const every = Math.min(5000, this.#leaseMs / 4);
    for (let number = 0; ; ) {
      const pause = number === 0 ? every : Math.min(every, pauseMs(number));
      if (!(await sleep(pause, true, { signal: this.#over.signal }))) return;
      const identity = this.#identity;
      const named = [...this.#runs.values()].slice(0, 10_000);
      const leases = named.map((active) => ({ job: active.run.id, lease: active.run.lease }));
      const body = JSON.stringify({ worker: this.#worker(), leases, claims: [...this.#claims] });
      try {
        const ms = Math.max(1000, this.#leaseMs / 3);
        const request = { method: "POST", path: "/v1/leases/extend", body, ms, signal: this.#over.signal };
        const answer = await this.#http.exchange(request);
        number = 0;
        if (!isTemporary(answer)) this.#heard(named, this.#checked(answer, identity)?.leases ?? []);
      } catch (error) {
        if (this.#over.signal.aborted) return;
        this.#onLog(`a heartbeat has no answer: ${(error as Error).message}`);
        number += 1;
      }
    }
  }

  #heard(named: Active[], answers: string[]): void {
    named.forEach((active, index) => {
      const answer = answers[index];
      if (answer === "cancel") active.run.askToStop("cancelled" satisfies StopReason);
      if (answer === "lost" && active.commit === undefined) {
        this.#forget(active);
        active.run.askToStop("lost");
        this.#ended.set();
      }
    });
  }

  // Reports and commits: one request at a time, reports first, so that a job has its lines before it ends.

  async #record(): Promise<void> {
    let reportedAt = -REPORT_MS;
    const isOver = () => this.#isClosing && ![...this.#runs.values()].some((active) => active.commit !== undefined);
    while (!isOver() && !this.#over.signal.aborted) {
      await this.#news.wait();
      this.#news.clear();
      const left = reportedAt + REPORT_MS - performance.now();
      if (this.#unrecorded.length === 0 && left > 0 && !this.#isClosing) {
        // An end that comes in the meantime cuts the wait short.
        await within(this.#untilEnd(), left);
        this.#news.clear();
      }
      const ends = this.#nextEnds();
      await this.#report();
      reportedAt = performance.now();
      if (ends.length > 0) {
        await this.#commitAll(ends);
        for (const freed of this.#freed.values()) freed.set();
      }
      if (this.#unrecorded.length > 0) this.#news.set();
    }
  }

  async #untilEnd(): Promise<void> {
    while (this.#unrecorded.length === 0 && !this.#isClosing) {
      this.#news.clear();
      await this.#news.wait();
    }
  }

  #nextEnds(): Active[] {
    let size = 0;
    let count = 0;
    for (const active of this.#unrecorded) {
      size += active.commit?.length ?? 0;
      if (count >= BATCH || (count > 0 && size > BATCH_CHARS)) break;
      count += 1;
    }
    return this.#unrecorded.splice(0, count);
  }

  async #report(): Promise<void> {
    for (;;) {
      const named: [Active, number][] = [];
      const reports = [];
      let [lines, size] = [0, 0];
      for (const active of this.#runs.values()) {
        if (reports.length >= BATCH || lines >= LINES_PER_REQUEST || size > BATCH_CHARS) break;
        const { run } = active;
        if (run.lines.length === 0 && run.lastProgress === undefined) continue;
        const seal = (field: string, text: string) =>
          active.isOpen ? this.#sealing!.text(run.id, run.kind, field, text) : text;
        const first = active.linesSent;
        const unsent = run.lines.slice(0, LINES_PER_REQUEST - lines);
        const more = unsent.map((line, index) => seal(`log ${run.lease} ${first + index}`, line));
        const last = run.lastProgress;
        const progress = last && { ...last, message: seal(`progress ${run.lease}`, last.message) };
        run.lastProgress = undefined;
        reports.push({ job: run.id, lease: run.lease, progress, lines: more, first_line: active.linesSent });
        named.push([active, more.length]);
        lines += more.length;
        size += more.reduce((sum, line) => sum + line.length, 0);
      }
      if (reports.length === 0) return;
      const identity = this.#identity;
      const body = JSON.stringify({ worker: identity.name, reports });
      try {
        const answer = await this.#answered("/v1/leases/report", body, identity);
        this.#heard(named.map(([active]) => active), answer?.leases ?? []);
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        this.#onLog(`${reports.length} reports were refused and are dropped: ${error.message}`);
      }
      for (const [active, count] of named) {
        active.linesSent += count;
        active.run.lines.splice(0, count);
      }
    }
  }

  async #commitAll(ends: Active[]): Promise<void> {
    const identity = this.#identity;
    const commits = ends.map((active) => active.commit).join(",");
    const body = `{"worker":${JSON.stringify(identity.name)},"commits":[${commits}]}`;
    let answer;
    try {
      answer = await this.#answered("/v1/leases/commit", body, identity);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      await this.#refused(ends, error);
      return;
    }
    const settled: { status: string }[] = answer?.commits ?? [];
    settled.forEach(({ status }, index) => {
      const active = ends[index]!;
      if (status === "later") {
        setTimeout(() => this.#again(active), 200);
        return;
      }
      if (status !== "recorded") this.#onLog(`the end of job ${active.run.id} was not recorded: ${status}`);
      this.#forget(active);
    });
  }

  #again(active: Active): void {
    if (this.#runs.get(key(active.run)) !== active) return;
    this.#unrecorded.push(active);
    this.#news.set();
  }

  /** One of the commits is wrong, such as an output that is too large. It is found by halves, and its job discarded. */
  async #refused(ends: Active[], problem: Problem): Promise<void> {
    if (ends.length > 1) {
      const half = ends.length >> 1;
      await this.#commitAll(ends.slice(0, half));
      await this.#commitAll(ends.slice(half));
      return;
    }
    const active = ends[0]!;
    if (active.isReplaced) {
      this.#onLog(`the end of job ${active.run.id} cannot be recorded: ${problem.message}`);
      this.#forget(active);
      return;
    }
    active.isReplaced = true;
    active.commit = commitOf(active.run, { outcome: "discard", error: clip(problem.message, ERROR_BYTES_MAX) });
    await this.#commitAll(ends);
  }

  /** Sends a request that is safe to repeat until it has an answer. */
  async #answered(path: string, body: string, identity: Identity): Promise<any> {
    for (let number = 0; ; number += 1) {
      let pause = pauseMs(number);
      let why: string;
      try {
        const answer = await this.#http.exchange({ method: "POST", path, body, signal: this.#over.signal });
        // A token may be replaced while the worker runs: its ends must not be lost by that.
        if (!isTemporary(answer) && ![401, 403, 500].includes(answer.status)) return this.#checked(answer, identity);
        pause = Math.max(pause, answer.retryAfterMs);
        why = problemOf(answer).message;
      } catch (error) {
        if (!(error instanceof Lost)) throw error;
        why = error.message;
      }
      if (identity !== this.#identity || this.#over.signal.aborted) return undefined;
      this.#onLog(`${path} has no answer and is repeated: ${why}`);
      await sleep(pause);
    }
  }
}

function key(run: Run): string {
  return `${run.id} ${run.lease}`;
}

/** Whether it ended in time. */
async function within(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((end) => (timer = setTimeout(() => end(false), Math.max(0, ms))));
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

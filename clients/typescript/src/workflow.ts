// Workflows: async functions that go on where they were after a crash, a deploy, or a wait of months.
//
// The server holds the journal of a workflow. The code asks for steps, timers, signals and children by name; what is recorded is
// answered from the journal, and runs no second time. When all of the code waits, the workflow is parked and holds no slot.

import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { BackroomError, Cancel, Discard, Retry, Snooze, Stopped } from "./errors.js";
import type { JobOptions } from "./json.js";
import { ERROR_BYTES_MAX, clip, type Run } from "./run.js";

/** The code is parked once all of it has waited for so many milliseconds. */
const QUIET_MS = 20;

/** A step failed for good: its tries are spent, or it threw `Discard`. Every run gets the same error. */
export class StepFailed extends BackroomError {}

/** A child ended without an output. */
export class ChildFailed extends BackroomError {}

/** A signal did not come in time. That is recorded: a signal that comes later is left to the next wait. */
export class TimedOut extends BackroomError {}

/** Two parts of the code use one name at the same time: give each a scope of its own, or another name. */
export class NameInUse extends BackroomError {}

/** Thrown by the code: the workflow begins again with these args and an empty journal. For workflows that would go on for ever. */
export class ContinueAsNew extends Error {
  constructor(readonly args: unknown) {
    super("the workflow begins again");
  }
}

export type WorkflowCode = (ctx: Workflow) => unknown;

/** @internal The code by its versions, the newest first; one without a name if the kind has no versions. */
export type Codes = readonly (readonly [version: string | undefined, code: WorkflowCode])[];

/** The branch that came first in a race, and what it returned. */
export interface Won<T> {
  branch: string;
  output: T;
}

/** Of all that is derived from a workflow and a key, the same in every language. */
const NAMESPACE = Buffer.from("3d1f0c6a77b94f028e4d5c1b90aa62f3", "hex");

export interface StepOptions<T> {
  /** The waits between tries, in the form of the API. */
  retry?: Record<string, unknown>;
  /** Tries allowed, the first included. Default 20. */
  maxTries?: number;
  /** Undoes the step if the workflow fails or is cancelled after it. It is tried until it succeeds. */
  compensate?: (value: T) => unknown;
}

/** What becomes of a child whose workflow ends before it. */
export type ChildPolicy = "cancel" | "cancel_on_failure" | "abandon";

interface AskAnswer {
  state: "done" | "failed" | "timed_out" | "execute" | "waiting" | "refused";
  value?: any;
  error?: string;
  try?: number;
  seq?: number;
}

type NewAsk = { kind: string; [field: string]: unknown };
type Ask = NewAsk & { key: string };

interface Says {
  status: "running" | "undoing" | "parked" | "blocked" | "ended" | "lost" | "not_yours" | "later";
  asks: AskAnswer[];
  generation?: number;
  version?: string;
  undo?: { key: string; value: unknown; try: number };
  recorded?: (AskAnswer & { key: string; kind: string })[];
}

/** @internal Sends one call. Undefined: the worker was declared dead. */
export type Call = (body: object) => Promise<Says | undefined>;

/** What the code of a workflow gets. All that has an effect, takes time or differs from run to run goes through it. */
export class Workflow<Args = any> {
  readonly #driver: Driver;
  readonly #path: string;

  /** @internal */
  constructor(driver: Driver, path = "") {
    this.#driver = driver;
    this.#path = path;
  }

  /** The run of the job, with its id, its attempt, `log` and `progress`. */
  get run(): Run<Args> {
    return this.#driver.run;
  }

  get args(): Args {
    return this.#driver.run.args;
  }

  /** Names of its own for a part of the code: `ctx.scope("refund").step("charge", …)` has the key `refund/charge`. */
  scope(name: string): Workflow<Args> {
    return new Workflow(this.#driver, this.#driver.scope(this.#path + name));
  }

  /** Runs `code` unless the step is recorded, and answers with its value, which must be JSON. An error is tried again. */
  async step<T>(name: string, code: () => T | Promise<T>, options: StepOptions<T> = {}): Promise<T> {
    const { retry, maxTries, compensate } = options;
    const ask = { kind: "step", retry, max_tries: maxTries, compensated: compensate !== undefined };
    const [key, answer] = await this.#driver.named(this.#path + name, ask, code);
    if (answer.state !== "done") throw new StepFailed(`step ${key} failed: ${answer.error}`);
    if (compensate !== undefined) this.#driver.compensations.set(key, compensate as (value: any) => unknown);
    return answer.value as T;
  }

  async sleep(name: string, ms: number): Promise<void> {
    await this.#driver.named(this.#path + name, { kind: "timer", ms: Math.max(0, Math.trunc(ms)) });
  }

  async sleepUntil(name: string, moment: Date): Promise<void> {
    await this.#driver.named(this.#path + name, { kind: "timer", until: moment.toISOString() });
  }

  /** What a signal of this name carries, which may have come before. Throws `TimedOut` if it does not come in time. */
  async waitSignal<T = any>(name: string, withinMs?: number): Promise<T> {
    const ask = { kind: "signal", signal: name, within_ms: withinMs };
    const [key, answer] = await this.#driver.named(this.#path + name, ask);
    if (answer.state === "timed_out") throw new TimedOut(`signal ${key} did not come within ${withinMs} ms`);
    return answer.value as T;
  }

  /** The output of another job. */
  async child<T = any>(
    name: string,
    kind: string,
    args: unknown = null,
    options: JobOptions & { policy?: ChildPolicy } = {},
  ): Promise<T> {
    const { policy = "cancel", ...more } = options;
    const ask = { kind: "child", job: { kind, args, ...more }, policy };
    const [key, answer] = await this.#driver.named(this.#path + name, ask);
    if (answer.state !== "done") throw new ChildFailed(`child ${key} ended without an output: ${answer.error}`);
    return answer.value as T;
  }

  /**
   * Runs async functions beside each other until one has ended. Each gets a `Workflow` with names of its own.
   *
   * Who won is recorded. The others go no further than where they stand: what they wait for has ended, and so have children that they
   * began, as their policies say. If the winner throws, so does the race.
   */
  async race<T>(name: string, branches: Record<string, (ctx: Workflow<Args>) => T | Promise<T>>): Promise<Won<T>> {
    const scope = this.#driver.scope(this.#path + name);
    const all = Object.entries(branches).map(([branch, code]) => {
      const path = this.#driver.scope(scope + branch);
      return { branch, path, code: async () => code(new Workflow(this.#driver, path)) };
    });
    if (all.length === 0) throw new TypeError(`race ${name} has no branch`);
    return this.#driver.race(this.#path + name, all);
  }

  /**
   * Whether to take the new path of a change: `false` for runs that had passed this place before the change was deployed.
   *
   * A run has passed it if answers are recorded in this scope that the code has not asked for. Remove it once no run is left from before.
   */
  async patched(name: string): Promise<boolean> {
    return this.#driver.patched(this.#path, name);
  }

  /** A random number of 64 bits, the same in every run. It is no secret. */
  random(name: string): bigint {
    const hash = this.#driver.derived("random", this.#path + name);
    const [high, low] = [hash.readBigUInt64BE(0), hash.readBigUInt64BE(8)];
    return high ^ BigInt.asUintN(64, (low << 32n) | (low >> 32n));
  }

  /** A UUID, the same in every run: an idempotency key for what a step calls. */
  uuid(name: string): string {
    const hash = this.#driver.derived("uuid", this.#path + name);
    hash[6] = (hash[6]! & 0x0f) | 0x40;
    const hex = hash.toString("hex");
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
  }

  /** The time, the same in every run. */
  async now(): Promise<Date> {
    const [, answer] = await this.#driver.named(`${this.#path}now`, { kind: "now" });
    return new Date(answer.value as string);
  }

  /** Publishes a value for queries, in the place of the one before. The journal shows it, also while the workflow is parked. */
  async publish(value: unknown): Promise<void> {
    await this.#driver.publish(value);
  }
}

/** @internal One run of the code of a workflow. */
export class Driver {
  readonly run: Run;
  readonly compensations = new Map<string, (value: any) => unknown>();
  readonly #call: Call;
  readonly #recorded = new Map<string, AskAnswer & { kind: string }>();
  /** Recorded answers that the code has not taken. */
  readonly #unread = new Set<string>();
  /** The code takes recorded answers still. */
  #isReplaying = false;
  #generation: number | undefined;
  #versions: string[] = [];
  readonly #uses = new Map<string, number>();
  readonly #derived = new Map<string, number>();
  /** Scopes of branches that have lost their race. */
  readonly #lost: string[] = [];
  /** Keys of requests under way. */
  readonly #asked = new Set<string[]>();
  readonly #live = new Set<string>();
  readonly #waiting = new Map<string, { ask: Ask; answered: (answer: AskAnswer) => void }>();
  /** Requests under way, and steps that run. */
  #busy = 0;
  /** Counts up whenever something changes. */
  #turn = 0;
  #onChange: (() => void)[] = [];
  #isOver = false;
  #over!: (says: Says) => void;
  readonly #whenOver = new Promise<Says>((over) => (this.#over = over));

  constructor(run: Run, call: Call) {
    this.run = run;
    this.#call = call;
  }

  /** Runs the code until it ends, is parked or must stop. Throws what the attempt fails with; otherwise all is recorded. */
  async drive(codes: Codes): Promise<void> {
    this.#versions = codes.flatMap(([version]) => version ?? []);
    const begun = await this.#send({ begin: true, versions: this.#versions });
    if (begun.status !== "running" && begun.status !== "undoing") return;
    this.#generation = begun.generation;
    // The oldest code is for runs that began before the kind had versions.
    const [, code] = codes.find(([version]) => version === begun.version) ?? codes.at(-1)!;
    for (const entry of begun.recorded ?? []) {
      this.#recorded.set(entry.key, entry);
      this.#unread.add(entry.key);
    }
    this.#isReplaying = this.#unread.size > 0;
    let says: Says;
    try {
      says = await this.#drive(code);
    } finally {
      this.#isOver = true;
      this.#changed();
    }
    while (says.status === "undoing") {
      says = await this.#send(says.undo === undefined ? { then: "park" } : await this.#undo(says.undo));
    }
  }

  async #drive(code: WorkflowCode): Promise<Says> {
    const ended = (async () => code(new Workflow(this)))().then(
      (output) => () => this.#send({ then: "complete", output: output === undefined ? null : output }),
      (error: unknown) => () => this.#failed(error),
    );
    const over = this.#whenOver.then((says) => () => Promise.resolve(says));
    const parks = this.#park().then(
      () => new Promise<never>(() => {}),
      (error: unknown) => () => Promise.reject(error),
    );
    const stopped = this.#stopped().then(
      () => () => this.#send({ then: "stop" }),
      (error: unknown) => () => Promise.reject(error),
    );
    const next: () => Promise<Says> = await Promise.race([over, ended, parks, stopped]);
    return next();
  }

  /** Returns once a client has cancelled the job and no step runs. Throws if the run is to stop for another reason. */
  async #stopped(): Promise<void> {
    const { signal } = this.run;
    if (!signal.aborted) await new Promise((stop) => signal.addEventListener("abort", stop, { once: true }));
    const reason = this.run.stopReason!;
    while (this.#busy > 0 && (reason === "cancelled" || reason === "stopping")) await this.#change();
    if (reason !== "cancelled") throw new Stopped(reason);
  }

  #failed(error: unknown): Promise<Says> {
    if (error instanceof ContinueAsNew) {
      return this.#send({ then: "continue", args: error.args, versions: this.#versions });
    }
    // A deploy mends it, so nothing is undone.
    if (error instanceof NameInUse) return Promise.reject(new Retry(error.message));
    // The attempt ends, and the job runs again from its journal.
    if (error instanceof Retry || error instanceof Snooze || error instanceof Stopped) return Promise.reject(error);
    return this.#send({ then: "fail", error: described(error) });
  }

  async #undo(undo: { key: string; value: unknown; try: number }): Promise<object> {
    const compensate = this.compensations.get(undo.key);
    if (compensate === undefined) {
      const error = `step ${undo.key} is to be undone, and the code has no compensation for it; deploy code that has one`;
      return { then: "block", error };
    }
    try {
      await compensate(undo.value);
    } catch (error) {
      return { undone: { key: undo.key, try: undo.try, error: described(error) } };
    }
    return { undone: { key: undo.key, try: undo.try } };
  }

  // Names.

  key(plain: string): string {
    const count = (this.#uses.get(plain) ?? 0) + 1;
    this.#uses.set(plain, count);
    return count === 1 ? plain : `${plain}#${count}`;
  }

  /** Scopes and entries are counted each by themselves. */
  scope(plain: string): string {
    const key = this.key(`${plain}/`);
    return key.endsWith("/") ? key : `${plain}#${key.slice(plain.length + 2)}/`;
  }

  /** 16 bytes that are the same in every run. */
  derived(what: string, plain: string): Buffer {
    const count = (this.#derived.get(`${what} ${plain}`) ?? 0) + 1;
    this.#derived.set(`${what} ${plain}`, count);
    const key = count === 1 ? plain : `${plain}#${count}`;
    const name = `${this.run.id} ${this.#generation} ${what} ${key}`;
    const hash = createHash("sha1").update(NAMESPACE).update(name).digest().subarray(0, 16);
    hash[6] = (hash[6]! & 0x0f) | 0x50;
    hash[8] = (hash[8]! & 0x3f) | 0x80;
    return hash;
  }

  async named(plain: string, ask: NewAsk, code?: () => unknown): Promise<[string, AskAnswer]> {
    return this.#using(plain, async (key) => [key, await this.#ask({ ...ask, key }, code)]);
  }

  async #using<T>(plain: string, use: (key: string) => Promise<T>): Promise<T> {
    if (this.#live.has(plain)) {
      throw new NameInUse(`${plain} is in use by another part of the workflow; give each part a scope, or another name`);
    }
    this.#live.add(plain);
    try {
      return await use(this.key(plain));
    } finally {
      this.#live.delete(plain);
    }
  }

  // Races and changes.

  async race<T>(plain: string, branches: { branch: string; path: string; code: () => Promise<T> }[]): Promise<Won<T>> {
    return this.#using(plain, async (key) => {
      const paths = branches.map(({ path }) => path);
      const others = (winner: number) => paths.filter((_, place) => place !== winner);
      const known = this.#known(key, "race");
      if (known !== undefined && known.value >= paths.length) {
        throw new BackroomError(`branch ${known.value} of race ${key} won in an earlier run, and the code has no such branch`);
      }
      // The others repeat what is recorded, so that their compensations are known, and go no further.
      if (known !== undefined) this.#lost.push(...others(known.value));
      const running = branches.map(({ code }) => code());
      // One that loses may fail later, which is no news.
      for (const branch of running) branch.catch(() => {});
      let winner: number = known?.value;
      if (known === undefined) {
        const ends = running.map((branch, place) => branch.then(() => place, () => place));
        winner = await Promise.race(ends);
        this.#lost.push(...others(winner));
        for (const one of this.#waiting.keys()) if (this.#hasLost(one)) this.#waiting.delete(one);
        // Else such a request would begin what no part of the code waits for.
        while ([...this.#asked].some((keys) => keys.some((one) => this.#hasLost(one)))) await this.#change();
        const answer = await this.#one({ key, kind: "race", branches: paths, won: winner });
        if (answer.value !== winner) throw new Retry(`another branch of race ${key} is recorded as its winner`);
      } else {
        await Promise.allSettled([running[winner]]);
        await this.#settled(() => [...this.#unread].some((one) => this.#hasLost(one)));
      }
      return { branch: branches[winner]!.branch, output: await running[winner]! };
    });
  }

  async patched(path: string, name: string): Promise<boolean> {
    return this.#using(path + name, async (key) => {
      if (this.#known(key, "patch") !== undefined) return true;
      // If no part of the code asks for what is recorded, it was recorded behind this place.
      if (!(await this.#settled(() => [...this.#unread].some((one) => one.startsWith(path))))) return false;
      return (await this.#one({ key, kind: "patch" })).value === true;
    });
  }

  /** Waits while this is so and the code takes recorded answers. Whether it is over. */
  async #settled(isSo: () => boolean): Promise<boolean> {
    while (isSo()) {
      const unread = this.#unread.size;
      await sleep(QUIET_MS);
      if (unread === this.#unread.size) return !isSo();
    }
    return true;
  }

  #hasLost(key: string): boolean {
    return this.#lost.some((path) => key.startsWith(path));
  }

  // Asks.

  #known(key: string, kind: string): AskAnswer | undefined {
    const known = this.#recorded.get(key);
    if (known === undefined || known.kind !== kind) return undefined;
    this.#unread.delete(key);
    this.#isReplaying = this.#unread.size > 0;
    return known;
  }

  async #ask(ask: Ask, code?: () => unknown): Promise<AskAnswer> {
    const known = this.#known(ask.key, ask.kind);
    if (known !== undefined) return known;
    this.#isReplaying = false;
    let answer = await this.#one(ask);
    for (;;) {
      if (answer.state === "execute" && code !== undefined) {
        answer = await this.#one({ ...ask, tried: await this.#try(code, answer.try!) });
      } else if (answer.state === "waiting") {
        answer = await this.#wait(ask);
      } else if (answer.state === "refused") {
        throw new BackroomError(answer.error ?? "refused");
      } else {
        return answer;
      }
    }
  }

  async #one(ask: Ask): Promise<AskAnswer> {
    // The code goes no further.
    const isToStop = this.run.stopReason === "cancelled" && ask["tried"] === undefined;
    if (isToStop || this.#hasLost(ask.key)) await forever();
    const says = await this.#busily({ asks: [ask] }, [ask.key]);
    // It lost its race meanwhile.
    if (this.#hasLost(ask.key)) await forever();
    return says.asks[0]!;
  }

  async publish(value: unknown): Promise<void> {
    // While the code repeats what an earlier run did, it publishes nothing older.
    if (!this.#isReplaying) await this.#busily({ publish: value });
  }

  async #busily(body: object, keys: string[] = []): Promise<Says> {
    if (this.#isOver) await forever();
    this.#busy += 1;
    this.#asked.add(keys);
    let says: Says;
    try {
      says = await this.#send(body);
    } finally {
      this.#busy -= 1;
      this.#asked.delete(keys);
      this.#changed();
    }
    if (says.status !== "running") {
      this.#over(says);
      await forever();
    }
    return says;
  }

  async #try(code: () => unknown, number: number): Promise<object> {
    this.#busy += 1;
    try {
      const value = await code();
      return { try: number, value: value === undefined ? null : value };
    } catch (error) {
      const gives_up = error instanceof Discard || error instanceof Cancel;
      return { try: number, error: described(error), gives_up };
    } finally {
      this.#busy -= 1;
      this.#changed();
    }
  }

  #wait(ask: Ask): Promise<AskAnswer> {
    return new Promise((answered) => {
      this.#waiting.set(ask.key, { ask, answered });
      this.#changed();
    });
  }

  /** Parks the workflow once all of the code waits, or hands out what has been answered meanwhile. */
  async #park(): Promise<void> {
    while (!this.#isOver) {
      const turn = this.#turn;
      if (this.#busy > 0 || this.#waiting.size === 0) {
        await this.#change();
        continue;
      }
      await sleep(QUIET_MS);
      if (turn !== this.#turn || this.#isOver) continue;
      const waiting = [...this.#waiting.values()];
      const asks = waiting.map(({ ask }) => ask);
      const says = await this.#busily({ asks, then: "park" }, asks.map(({ key }) => key));
      const ready = says.asks.map((answer, place) => ({ answer, ...waiting[place]! }));
      // In the order in which they were answered, so that the first one wins a race.
      ready.sort((one, other) => (one.answer.seq ?? 0) - (other.answer.seq ?? 0));
      for (const { answer, ask, answered } of ready) {
        if (answer.state === "waiting" || this.#hasLost(ask.key)) continue;
        this.#waiting.delete(ask.key);
        answered(answer);
        this.#changed();
      }
    }
  }

  #changed(): void {
    this.#turn += 1;
    const waiting = this.#onChange;
    this.#onChange = [];
    for (const wake of waiting) wake();
  }

  #change(): Promise<void> {
    return new Promise((wake) => this.#onChange.push(wake));
  }

  async #send(body: object): Promise<Says> {
    for (;;) {
      const named = { job: this.run.id, lease: this.run.lease, generation: this.#generation };
      const says = await this.#call({ ...named, ...body });
      if (says === undefined) return { status: "lost", asks: [] };
      if (says.status !== "later") return says;
      await sleep(200);
    }
  }
}

function forever(): Promise<never> {
  return new Promise(() => {});
}

function described(error: unknown): string {
  return clip(error instanceof Error ? error.message : String(error), ERROR_BYTES_MAX);
}

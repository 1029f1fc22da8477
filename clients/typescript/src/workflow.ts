// Workflows: async functions that go on where they were after a crash, a deploy, or a wait of months.
//
// The server holds the journal of a workflow. The code asks for steps, timers, signals and children by name; what is recorded is
// answered from the journal, and runs no second time. When all of the code waits, the workflow is parked and holds no slot.

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
}

type NewAsk = { kind: string; [field: string]: unknown };
type Ask = NewAsk & { key: string };

interface Says {
  status: "running" | "undoing" | "parked" | "blocked" | "ended" | "lost" | "not_yours" | "later";
  asks: AskAnswer[];
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
    return new Workflow(this.#driver, `${this.#driver.key(this.#path + name)}/`);
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
  readonly #uses = new Map<string, number>();
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
  async drive(code: WorkflowCode): Promise<void> {
    const begun = await this.#send({ begin: true });
    if (begun.status !== "running" && begun.status !== "undoing") return;
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
    if (error instanceof ContinueAsNew) return this.#send({ then: "continue", args: error.args });
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

  async named(plain: string, ask: NewAsk, code?: () => unknown): Promise<[string, AskAnswer]> {
    if (this.#live.has(plain)) {
      throw new NameInUse(`${plain} is in use by another part of the workflow; give each part a scope, or another name`);
    }
    this.#live.add(plain);
    try {
      const key = this.key(plain);
      return [key, await this.#ask({ ...ask, key }, code)];
    } finally {
      this.#live.delete(plain);
    }
  }

  // Asks.

  async #ask(ask: Ask, code?: () => unknown): Promise<AskAnswer> {
    const known = this.#recorded.get(ask.key);
    if (known !== undefined && known.kind === ask.kind) {
      this.#unread.delete(ask.key);
      this.#isReplaying = this.#unread.size > 0;
      return known;
    }
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
    if (this.run.stopReason === "cancelled" && ask["tried"] === undefined) await forever();
    const says = await this.#busily({ asks: [ask] });
    return says.asks[0]!;
  }

  async publish(value: unknown): Promise<void> {
    // While the code repeats what an earlier run did, it publishes nothing older.
    if (!this.#isReplaying) await this.#busily({ publish: value });
  }

  async #busily(body: object): Promise<Says> {
    if (this.#isOver) await forever();
    this.#busy += 1;
    let says: Says;
    try {
      says = await this.#send(body);
    } finally {
      this.#busy -= 1;
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
      const says = await this.#busily({ asks: waiting.map(({ ask }) => ask), then: "park" });
      says.asks.forEach((answer, place) => {
        if (answer.state === "waiting") return;
        const { ask, answered } = waiting[place]!;
        this.#waiting.delete(ask.key);
        answered(answer);
        this.#changed();
      });
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
      const says = await this.#call({ job: this.run.id, lease: this.run.lease, ...body });
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

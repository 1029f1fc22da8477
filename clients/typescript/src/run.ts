import { Cancel, Discard, Retry, Snooze, Stopped, type StopReason } from "./errors.js";

const LINES_MAX = 1000;
const LINE_BYTES_MAX = 4096;
const MESSAGE_BYTES_MAX = 256;
export const ERROR_BYTES_MAX = 8 * 1024;

/** A job as a claim answers it. */
export interface ClaimedJob {
  id: string;
  lease: string;
  kind: string;
  queue: string;
  args: any;
  attempt: number;
  max_attempts: number;
  timeout_ms: number | null;
  tags: string[];
  extras: Record<string, unknown>;
}

/** One run of a job: what a handler gets. */
export class Run<Args = any> {
  readonly id: string;
  /** The lease of this run. With the id it names the run. */
  readonly lease: string;
  readonly kind: string;
  readonly queue: string;
  args: Args;
  /** Which attempt this is; the first one is 1. */
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly tags: string[];
  /** Everything else that the caller chose, with the API's names. */
  readonly extras: Record<string, unknown>;
  readonly #stop = new AbortController();
  readonly #wake: () => void;
  #lineCount = 0;
  /** @internal */
  lines: string[] = [];
  /** @internal */
  lastProgress: { percent: number; message: string } | undefined;

  /** @internal */
  constructor(job: ClaimedJob, wake: () => void) {
    this.id = job.id;
    this.lease = job.lease;
    this.kind = job.kind;
    this.queue = job.queue;
    this.args = job.args;
    this.attempt = job.attempt;
    this.maxAttempts = job.max_attempts;
    this.tags = job.tags;
    this.extras = job.extras ?? {};
    this.#wake = wake;
  }

  /** Is aborted when the run is to stop. Pass it to `fetch` and to timers. Its reason is a `Stopped`. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Why the run is to stop, if it is. */
  get stopReason(): StopReason | undefined {
    return this.signal.aborted ? (this.signal.reason as Stopped).reason : undefined;
  }

  /** Says how far the run is, 0 to 100. Of several reports in a short time the last one is sent. */
  progress(percent: number, message = ""): void {
    const whole = Math.max(0, Math.min(100, Math.trunc(percent) || 0));
    this.lastProgress = { percent: whole, message: clip(message, MESSAGE_BYTES_MAX) };
    this.#wake();
  }

  /** Adds a line to the log of the job. A run has at most 1,000 lines of 4 KiB; later lines are dropped. */
  log(line: string): void {
    for (const one of clip(line, 8 * LINE_BYTES_MAX).split(/\r?\n/)) {
      if (this.#lineCount >= LINES_MAX) return;
      this.#lineCount += 1;
      this.lines.push(clip(one, LINE_BYTES_MAX));
    }
    this.#wake();
  }

  /** @internal */
  askToStop(reason: StopReason): void {
    if (!this.signal.aborted) this.#stop.abort(new Stopped(reason));
  }
}

/** The text, cut to so many bytes of UTF-8. What UTF-8 cannot have is replaced. */
export function clip(text: string, most: number): string {
  const bytes = Buffer.from(String(text).replaceAll("\0", " "));
  if (bytes.length <= most) return bytes.toString();
  let end = most;
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end -= 1;
  return bytes.subarray(0, end).toString();
}

export interface Outcome {
  outcome: "done" | "failed" | "timed_out" | "discard" | "cancel" | "snooze" | "release";
  output?: unknown;
  error?: string;
  delay_ms?: number;
}

/** What becomes of a run whose handler threw this, after it was asked to stop for `reason`. Undefined: nothing is committed. */
export function ofError(error: unknown, reason: StopReason | undefined): Outcome | undefined {
  if (reason === "lost") return undefined;
  const why = clip(error instanceof Error ? error.message : String(error), ERROR_BYTES_MAX);
  if (error instanceof Snooze) return { outcome: "snooze", delay_ms: Math.max(0, Math.trunc(error.delayMs)) };
  if (error instanceof Retry) {
    const delay_ms = error.delayMs === undefined ? undefined : Math.max(0, Math.trunc(error.delayMs));
    return { outcome: "failed", error: why, delay_ms };
  }
  if (error instanceof Discard) return { outcome: "discard", error: why };
  if (error instanceof Cancel) return { outcome: "cancel", error: why };
  const isStop = error instanceof Stopped || (error instanceof Error && error.name === "AbortError");
  if (isStop && reason !== undefined) return ofStop(reason);
  const text = error instanceof Error ? (error.stack ?? `${error.name}: ${error.message}`) : String(error);
  return { outcome: "failed", error: clip(text, ERROR_BYTES_MAX) };
}

/** What becomes of a run that ended because it was asked to. */
export function ofStop(reason: StopReason): Outcome | undefined {
  switch (reason) {
    case "lost":
      return undefined;
    case "cancelled":
      return { outcome: "cancel", error: "the handler stopped, because the job was cancelled" };
    case "timeout":
      return { outcome: "timed_out", error: "the attempt took longer than its timeout" };
    case "stopping":
      return { outcome: "release" };
  }
}

/** The commit as JSON. An output that is no JSON discards the job: it was done, and doing it again would not help. */
export function commitOf(run: Run, outcome: Outcome, ranMs?: number): string {
  const body = { job: run.id, lease: run.lease, ...outcome, ran_ms: ranMs };
  try {
    return JSON.stringify(body);
  } catch (error) {
    const why = clip(`the output is no JSON: ${(error as Error).message}`, ERROR_BYTES_MAX);
    return JSON.stringify({ job: run.id, lease: run.lease, outcome: "discard", error: why });
  }
}

/** The base of every error of this package. */
export class BackroomError extends Error {
  constructor(message: string) {
    super(message);
    this.name = new.target.name;
  }
}

/** The server did not answer within the client's patience. Whether it carried the request out is unknown. */
export class Unreachable extends BackroomError {}

/** The server refused a request. `code` does not change its meaning; the server's page of problems lists all codes. */
export class Problem extends BackroomError {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly members: Record<string, unknown> = {},
  ) {
    super(`${code}: ${detail}`);
  }
}

/** The job ended without an output. `job` is its last state. */
export class Unsuccessful extends BackroomError {
  constructor(readonly job: import("./json.js").Job) {
    super(`job ${job.id} is ${job.state}: ${job.reason}`);
  }
}

/** A wait was longer than it may be. The job goes on. */
export class WaitTimeout extends BackroomError {}

/** Thrown by a handler: trying again cannot help, the job is discarded. */
export class Discard extends BackroomError {}

/** Thrown by a handler: the job is no longer wanted. */
export class Cancel extends BackroomError {}

/** Thrown by a handler: the run failed, and is tried again after so many milliseconds, or after its usual back-off. */
export class Retry extends BackroomError {
  constructor(message: string, readonly delayMs?: number) {
    super(message);
  }
}

/** Thrown by a handler: the job runs again after so many milliseconds. No attempt is charged. */
export class Snooze extends BackroomError {
  constructor(readonly delayMs: number) {
    super(`snoozed for ${delayMs} ms`);
  }
}

/** The run was asked to stop. It is the reason of the run's `signal`. */
export class Stopped extends BackroomError {
  constructor(readonly reason: StopReason) {
    super(reason);
  }
}

/** Why a run is to stop. `lost`: the job runs elsewhere. `stopping`: the worker stops. */
export type StopReason = "cancelled" | "timeout" | "lost" | "stopping";

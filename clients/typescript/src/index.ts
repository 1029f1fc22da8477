export { Client, type ClientOptions } from "./client.js";
export {
  BackroomError, Cancel, Discard, Problem, Retry, Snooze, Stopped, Unreachable, Unsuccessful, WaitTimeout, type StopReason,
} from "./errors.js";
export type { Enqueued, Job, JobEvent, JobOptions, Json, NewJob } from "./json.js";
export { Run } from "./run.js";
export {
  ChildFailed, ContinueAsNew, NameInUse, StepFailed, TimedOut, Workflow, type ChildPolicy, type StepOptions, type Won,
  type WorkflowCode,
} from "./workflow.js";
export { Worker, type Handler, type WorkerOptions } from "./worker.js";
export { KeyMissing, Keys, OpenError, Sealing, type SealedValue } from "./sealed.js";

/** What JSON can hold. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** A job as the API answers it. Fields have the names of the API. */
export interface Job {
  id: string;
  kind: string;
  queue: string;
  state: string;
  shown: string;
  args: Json;
  output: Json;
  attempt: number;
  max_attempts: number;
  reason: string | null;
  progress: { percent: number; message: string } | null;
  finished_at: string | null;
  [name: string]: unknown;
}

/** What a caller may choose for a job, with the names of the API. */
export interface JobOptions {
  queue?: string;
  lane?: string;
  priority?: number;
  scheduled_at?: string;
  delay_ms?: number;
  expires_at?: string;
  expires_in_ms?: number;
  max_attempts?: number;
  unique?: Json;
  tags?: string[];
  timeout_ms?: number;
  retry?: Json;
  meta?: Record<string, string>;
  traceparent?: string;
  reply?: Json;
  callback?: Json;
}

/** A job to enqueue. */
export interface NewJob extends JobOptions {
  kind: string;
  args?: unknown;
}

/** What became of one job of many. */
export interface Enqueued {
  id: string;
  outcome: string;
}

/** Something that happened to a job. */
export interface JobEvent {
  event: "state" | "progress" | "line" | "attempt" | "other";
  data: any;
}

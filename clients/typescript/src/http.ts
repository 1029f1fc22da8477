// One request, and a request that is repeated until it is answered.

import { setTimeout as sleep } from "node:timers/promises";
import { Problem, Unreachable } from "./errors.js";

/** No answer arrived, or no whole one. */
export class Lost extends Error {}

export interface Request {
  method: string;
  path: string;
  /** JSON that is encoded already. */
  body?: string;
  headers?: Record<string, string>;
  /** How long the answer may take. */
  ms?: number;
  signal?: AbortSignal;
}

export interface Answer {
  status: number;
  retryAfterMs: number;
  text: string;
}

/** Requests that the server answers at once have so many milliseconds. */
export const ANSWER_MS = 30_000;
/** One answer never waits longer for a job than so many milliseconds. A longer wait is several requests. */
export const WAIT_MS = 20_000;

export class Http {
  readonly #server: string;
  readonly #headers: Record<string, string>;

  constructor(server: string, token?: string) {
    const url = new URL(server);
    if (url.protocol !== "http:" && url.protocol !== "https:") throw new TypeError(`${server} is no URL of a server`);
    this.#server = server.replace(/\/+$/, "");
    this.#headers = token ? { authorization: `Bearer ${token}` } : {};
  }

  /** The answer, or the error `Lost`. */
  async exchange(request: Request): Promise<Answer> {
    const limit = AbortSignal.timeout(Math.ceil(request.ms ?? ANSWER_MS));
    const signal = request.signal ? AbortSignal.any([limit, request.signal]) : limit;
    try {
      const response = await this.open(request, signal);
      const text = await response.text();
      const secs = Number(response.headers.get("retry-after"));
      return { status: response.status, retryAfterMs: Number.isFinite(secs) ? Math.min(secs, 30) * 1000 : 0, text };
    } catch (error) {
      throw lost(error);
    }
  }

  /** The answer whose body is still to be read. */
  open(request: Request, signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { ...this.#headers, ...request.headers };
    if (request.body !== undefined) headers["content-type"] ??= "application/json";
    return fetch(this.#server + request.path, {
      method: request.method,
      headers,
      body: request.body,
      signal,
      redirect: "error",
    });
  }

  /** Sends a request until it is answered. It must be safe to repeat. */
  async repeated(request: Request, patienceMs: number): Promise<Answer> {
    const until = performance.now() + patienceMs;
    for (let number = 0; ; number += 1) {
      let wait = pauseMs(number);
      let why: string;
      try {
        const answer = await this.exchange(request);
        // With 429 the queue is full: the caller decides.
        if (answer.status === 429 || (!isTemporary(answer) && answer.status >= 400)) throw problemOf(answer);
        if (!isTemporary(answer)) return answer;
        wait = Math.max(wait, answer.retryAfterMs);
        why = problemOf(answer).message;
      } catch (error) {
        if (!(error instanceof Lost)) throw error;
        why = error.message;
      }
      if (performance.now() + wait > until) throw new Unreachable(`${request.method} ${request.path}: ${why}`);
      await sleep(wait);
    }
  }
}

export function lost(error: unknown): Lost {
  const { message, cause } = error as Error;
  return new Lost(cause instanceof Error ? `${message}: ${cause.message}` : String(message));
}

/** The wait before repeat `number`: a random part of a span that doubles up to 2 s. */
export function pauseMs(number: number): number {
  return (0.5 + Math.random() / 2) * Math.min(2000, 50 * 2 ** Math.min(number, 6));
}

/** Whether the same request may succeed later: a server that is away or stopping, or a repeat that came too early. */
export function isTemporary(answer: Answer): boolean {
  if ([408, 429, 502, 503, 504].includes(answer.status)) return true;
  return answer.status === 409 && problemOf(answer).code === "in-flight";
}

/** The error of an answer that refuses. */
export function problemOf(answer: { status: number; text: string }): Problem {
  try {
    const document = JSON.parse(answer.text);
    if (typeof document.code === "string") {
      return new Problem(answer.status, document.code, String(document.detail ?? ""), document);
    }
  } catch {
    // It is no document of the API, such as the page of a proxy.
  }
  return new Problem(answer.status, "unknown", `status ${answer.status}: ${answer.text.slice(0, 200)}`);
}

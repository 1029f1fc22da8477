// The worker against a real server, over real sockets.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Cancel, Client, Discard, Retry, Snooze, Unreachable, Worker } from "../dist/index.js";
import { PATIENCE, Server, eventually, folder, forgetful, program, sometimes, working } from "./support.mjs";

const JOBS = fileURLToPath(new URL("jobs.mjs", import.meta.url));
const quiet = () => {};

test("a handler decides what becomes of its job", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const worker = new Worker({ server: server.url });
  let snoozes = 0;
  const throwing = (error) => () => {
    throw error;
  };
  const circle = {};
  circle.self = circle;
  const handlers = {
    doubled: async (run) => run.args * 2,
    text: () => "ä\u2028😀",
    nothing: () => undefined,
    "no-json": () => circle,
    "too-large": () => "x".repeat(9 << 20),
    discarded: throwing(new Discard("no such customer")),
    cancelled: throwing(new Cancel("sold out")),
    broken: throwing(new RangeError("disk full")),
    snoozed: (run) => {
      if (snoozes++ === 0) throw new Snooze(10);
      return `attempt ${run.attempt}`;
    },
    retried: (run) => {
      if (run.attempt === 1) throw new Retry("not yet", 10);
      return `attempt ${run.attempt}`;
    },
  };
  for (const [kind, handler] of Object.entries(handlers)) worker.handles(kind, handler);
  working(t, worker);
  const outputs = {};
  const reasons = {};
  for (const kind of Object.keys(handlers)) {
    const job = await client.enqueue(kind, 21, { max_attempts: kind === "retried" ? 2 : 1 });
    const found = await client.wait(job, PATIENCE);
    if (found.state === "completed") outputs[kind] = found.output;
    else reasons[kind] = `${found.state}: ${found.reason}`;
  }
  const expected = { doubled: 42, text: "ä\u2028😀", nothing: null, snoozed: "attempt 1", retried: "attempt 2" };
  assert.deepEqual(outputs, expected);
  assert.match(reasons.discarded, /^discarded: .*no such customer/);
  assert.match(reasons["no-json"], /^discarded: .*no JSON/);
  assert.match(reasons["too-large"], /^discarded: /);
  assert.match(reasons.broken, /RangeError: disk full/);
  assert.match(reasons.cancelled, /^cancelled: /);
});

test("progress and lines arrive in order, although answers are lost", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const proxy = await forgetful(t, server, sometimes);
  const worker = new Worker({ server: proxy.url, onLog: quiet });
  worker.handles("talk", async (run) => {
    for (let n = 0; n < 200; n += 1) {
      run.log(`line ${n}`);
      run.progress(n / 2, `at ${n}`);
      if (n % 50 === 0) await sleep(250);
    }
  });
  working(t, worker);
  const job = await client.enqueue("talk");
  assert.equal((await client.wait(job, PATIENCE)).progress.percent, 99);
  const { log } = await server.read(`/v1/jobs/${job}/logs`);
  assert.deepEqual(log.map((one) => one.line), Array.from({ length: 200 }, (_, n) => `line ${n}`));
});

test("a cancel and a timeout abort the signal of the run", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const worker = new Worker({ server: server.url, leaseMs: 2000 });
  worker.handles("long", async (run) => {
    run.log("began");
    await sleep(600_000, undefined, { signal: run.signal });
  });
  working(t, worker);
  const job = await client.enqueue("long");
  for await (const { event } of client.follow(job)) {
    if (event === "line") await client.cancel(job, "enough");
  }
  assert.equal((await client.get(job)).state, "cancelled");
  const late = await client.wait(await client.enqueue("long", null, { timeout_ms: 100, max_attempts: 1 }), PATIENCE);
  assert.equal(late.state, "discarded");
  assert.match(late.reason, /timeout/);
});

test("no queue exceeds its slots", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const [now, most] = [{ a: 0, b: 0 }, { a: 0, b: 0 }];
  const worker = new Worker({ server: server.url, queues: { a: 2, b: 5 } });
  worker.handles("count", async ({ queue }) => {
    now[queue] += 1;
    most[queue] = Math.max(most[queue], now[queue]);
    await sleep(20);
    now[queue] -= 1;
  });
  const jobs = await client.enqueueMany(Array.from({ length: 60 }, (_, n) => ({ kind: "count", queue: "ab"[n % 2] })));
  working(t, worker);
  for (const { id } of jobs) await client.wait(id, PATIENCE);
  assert.deepEqual(most, { a: 2, b: 5 });
});

test("commits and claims whose answers are lost are recorded once", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const proxy = await forgetful(t, server, sometimes);
  const worker = new Worker({ server: proxy.url, queues: { default: 50 }, onLog: quiet });
  const runs = [];
  worker.handles("once", (run) => {
    runs.push(run.id);
    return run.lease;
  });
  working(t, worker);
  const jobs = await client.enqueueMany(Array.from({ length: 500 }, () => ({ kind: "once" })));
  for (const { id } of jobs) assert.equal((await client.wait(id, PATIENCE)).attempt, 1);
  assert.deepEqual(runs.sort(), jobs.map((job) => job.id).sort(), "no job ran twice");
  assert.ok(proxy.lost.includes("/v1/claim") && proxy.lost.includes("/v1/leases/commit"), String(proxy.lost));
});

/** A worker process, see `jobs.mjs`. */
const jobs = (t, server, place, more = {}) => program(t, [JOBS, place.path], { BACKROOM_SERVER: server.url, ...more });

test("a worker that was declared dead drops its run, and goes on under another name", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const place = folder(t);
  const frozen = jobs(t, server, place);
  const long = await client.enqueue("long", 8000);
  await eventually("the job runs", () => place.lines("began").length === 1);
  frozen.signal("SIGSTOP");
  const other = jobs(t, server, place);
  await eventually("the job runs elsewhere", () => place.lines("began").length === 2);
  frozen.signal("SIGCONT");
  const found = await client.wait(long, PATIENCE);
  assert.equal(found.state, "completed");
  assert.equal(await other.stop(), 0);
  assert.equal((await client.wait(await client.enqueue("note"), PATIENCE)).state, "completed");
  assert.equal(await frozen.stop(), 0);
});

test("a stop waits for handlers, and leaves", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const place = folder(t);
  const worker = jobs(t, server, place);
  const job = await client.enqueue("long", 1000);
  await eventually("the job runs", () => place.lines("began").length > 0);
  assert.equal(await worker.stop(), 0);
  assert.deepEqual(place.lines("stopped"), ["in order"]);
  const found = await client.get(job);
  assert.deepEqual([found.state, found.output], ["completed", "slept"]);
  const { workers } = await server.read("/v1/workers");
  assert.deepEqual(workers.filter((row) => row.kinds.includes("long")), []);
});

test("a stop releases what exceeds its grace", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const place = folder(t);
  const worker = jobs(t, server, place, { GRACE: "200" });
  const job = await client.enqueue("long", 600_000);
  await eventually("the job runs", () => place.lines("began").length > 0);
  assert.equal(await worker.stop(), 0);
  const found = await client.get(job);
  assert.deepEqual([found.state, found.shown], ["queued", "available"]);
});

test("kills of the server and of workers lose nothing that was acknowledged", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const place = folder(t);
  const workers = [jobs(t, server, place), jobs(t, server, place)];
  const acknowledged = [];
  let isOver = false;
  const enqueue = async () => {
    const client = new Client(server.url, { patienceMs: 5000 });
    while (!isOver) {
      try {
        const many = await client.enqueueMany(Array.from({ length: 20 }, () => ({ kind: "note" })));
        acknowledged.push(...many.map((job) => job.id));
      } catch (error) {
        // Not acknowledged: they may be stored or not.
        if (!(error instanceof Unreachable)) throw error;
      }
      await sleep(20);
    }
  };
  const more = (ran) => place.lines("ran").length > ran + 50;
  const enqueuing = enqueue();
  for (let turn = 0; turn < Number(process.env.TURNS ?? 3); turn += 1) {
    const ran = place.lines("ran").length;
    await eventually("jobs run", () => more(ran));
    await server.kill();
    await server.start();
    const again = place.lines("ran").length;
    await eventually("jobs run again", () => more(again));
    await workers[turn % 2].kill();
    workers[turn % 2] = jobs(t, server, place);
  }
  isOver = true;
  await enqueuing;
  assert.ok(acknowledged.length > 100);
  const found = new Map();
  for (const job of acknowledged) found.set(job, await client.wait(job, PATIENCE));
  const leases = new Map();
  for (const line of place.lines("ran")) {
    const [job, lease] = line.split(" ");
    leases.set(job, (leases.get(job) ?? new Set()).add(lease));
  }
  for (const job of acknowledged) {
    const { state, output } = found.get(job);
    assert.equal(state, "completed");
    assert.ok(leases.get(job).has(output), "the outcome is that of a run");
    if (leases.get(job).size === 1) continue;
    // No lease has two outcomes: neither two ends without success, nor one beside the success.
    const { attempts } = await server.read(`/v1/jobs/${job}/attempts`);
    const ended = attempts.map((attempt) => attempt.lease_id);
    assert.ok(new Set(ended).size === ended.length && !ended.includes(output), JSON.stringify(attempts));
  }
  for (const worker of workers) assert.equal(await worker.stop(), 0);
});

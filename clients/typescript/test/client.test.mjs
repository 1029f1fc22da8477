// The client against a real server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, Problem, Unreachable, Unsuccessful, WaitTimeout, Worker } from "../dist/index.js";
import { PATIENCE, Server, forgetful, working } from "./support.mjs";

const NOWHERE = "00000000-0000-7000-8000-000000000000";

function adder(url) {
  const worker = new Worker({ server: url });
  return worker.handles("add", (run) => {
    run.progress(50, "half");
    run.log("adding");
    return run.args.reduce((sum, one) => sum + one);
  });
}

test("a job is enqueued, awaited and read", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  working(t, adder(server.url));
  const job = await client.enqueue("add", [1, 2], { tags: ["sum"] });
  assert.equal(await client.result(job, PATIENCE), 3);
  const found = await client.get(job);
  assert.deepEqual([found.state, found.tags], ["completed", ["sum"]]);
});

test("many jobs are enqueued together", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const jobs = Array.from({ length: 2500 }, (_, args) => ({ kind: "later", args, delay_ms: 3_600_000 }));
  const outcomes = await client.enqueueMany(jobs);
  assert.equal(new Set(outcomes.map((one) => one.id)).size, 2500);
  assert.equal((await client.get(outcomes[2001].id)).args, 2001);
});

test("a wait ends in time, and a cancelled job has no result", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const job = await client.enqueue("never");
  await assert.rejects(client.wait(job, 100), WaitTimeout);
  await client.cancel(job, "not wanted");
  const error = await client.result(job, PATIENCE).catch((error) => error);
  assert.ok(error instanceof Unsuccessful && error.job.state === "cancelled", String(error));
});

test("what the server refuses is an error with its code", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const invalid = await client.enqueue("add", [1], { priority: 77 }).catch((error) => error);
  assert.ok(invalid instanceof Problem);
  assert.deepEqual([invalid.status, invalid.code], [422, "invalid"]);
  await assert.rejects(client.get(NOWHERE), (error) => error instanceof Problem && error.code === "not-found");
  await assert.rejects(async () => {
    for await (const _ of client.follow(NOWHERE)) assert.fail("there is no such job");
  }, (error) => error instanceof Problem && error.code === "not-found");
});

test("an enqueue whose answers are lost stores one job", async (t) => {
  const server = await Server.start(t);
  const proxy = await forgetful(t, server, (_, count) => count <= 2);
  const client = new Client(proxy.url);
  await client.enqueue("once");
  await client.enqueueMany(Array.from({ length: 10 }, () => ({ kind: "many" })));
  assert.deepEqual(proxy.lost, ["/v1/jobs", "/v1/jobs", "/v1/jobs/batch", "/v1/jobs/batch"]);
  const { counts } = await server.read("/v1/counts");
  assert.equal(counts.reduce((sum, row) => sum + row.jobs, 0), 11);
});

test("a server that is away is an error after the patience", async (t) => {
  const server = await Server.start(t);
  await server.kill();
  await assert.rejects(new Client(server.url, { patienceMs: 300 }).enqueue("add"), Unreachable);
});

test("a job is followed over a kill of the server", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const { promise: goOn, resolve: letGo } = withResolvers();
  const worker = new Worker({ server: server.url, leaseMs: 5000, onLog: () => {} });
  worker.handles("tell", async (run) => {
    run.log("before");
    await goOn;
    run.log("after");
  });
  working(t, worker);
  const lines = [];
  const states = [];
  for await (const { event, data } of client.follow(await client.enqueue("tell"))) {
    if (event === "state") states.push(data.state);
    if (event !== "line") continue;
    lines.push(data.line);
    if (lines.length > 1) continue;
    await server.kill();
    await server.start();
    letGo();
  }
  assert.deepEqual([lines, states.at(-1)], [["before", "after"], "completed"]);
});

function withResolvers() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}

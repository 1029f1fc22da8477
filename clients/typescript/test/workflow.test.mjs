// Workflows against a real server, over real sockets.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Client, ContinueAsNew, StepFailed, TimedOut, Worker } from "../dist/index.js";
import { Driver } from "../dist/workflow.js";
import { PATIENCE, Server, eventually, folder, forgetful, program, sometimes, working } from "./support.mjs";

const JOBS = fileURLToPath(new URL("jobs.mjs", import.meta.url));
const quiet = () => {};
/** Retries at once. */
const QUICK = { backoff: { constant: 1 } };
const count = (notes, note) => notes.filter((one) => one === note).length;

/** A worker with the workflow that all clients are tested with. */
function orderOf(server, notes) {
  const worker = new Worker({ server, onLog: quiet });
  worker.handles("doubled", (run) => run.args * 2);
  worker.workflow("order", async (ctx) => {
    notes.push("begin");
    const charge = () => {
      notes.push("charge");
      if (count(notes, "charge") === 1) throw new Error("the bank does not answer");
      return 990;
    };
    const pack = async (side) => {
      notes.push(`pack ${side}`);
      return side;
    };
    const cents = await ctx.step("charge", charge, { retry: QUICK });
    const sides = await Promise.all(["left", "right"].map((side) => ctx.scope(side).step("pack", () => pack(side))));
    await ctx.publish("packed");
    const carrier = await ctx.waitSignal("shipped");
    try {
      await ctx.waitSignal("never", 10);
    } catch (error) {
      assert.ok(error instanceof TimedOut);
      notes.push("timed out");
    }
    const twice = await ctx.child("twice", "doubled", 21);
    const moment = await ctx.now();
    await ctx.sleep("rest", 10);
    for (let number = 0; number < 2; number += 1) await ctx.step("mail", () => void notes.push(`mail ${number}`));
    return [cents, sides, carrier, twice, moment.getFullYear() > 2000];
  });
  return worker;
}

const journal = (server, job) => new Client(server.url).journal(job);

const parked = (server, job) =>
  eventually("it parks", async () => (await server.read(`/v1/jobs/${job}`)).state === "waiting");

test("what is recorded runs once, and a parked workflow goes on with its signal", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const notes = [];
  working(t, orderOf(server.url, notes));
  const job = await client.enqueue("order");
  await eventually("it waits for its signal", async () => (await journal(server, job))?.published === "packed");
  await parked(server, job);
  await client.signal(job, "shipped", "bicycle");
  assert.deepEqual(await client.result(job, PATIENCE), [990, ["left", "right"], "bicycle", 42, true]);
  // The code itself runs again after it was parked; what it notes outside of steps then stands there again.
  assert.deepEqual(
    notes.filter((note) => note !== "begin" && note !== "timed out").sort(),
    ["charge", "charge", "mail 0", "mail 1", "pack left", "pack right"],
  );
  assert.ok(count(notes, "timed out") > 0);
  assert.ok(count(notes, "begin") > 1, "it was parked");
  const keys = (await journal(server, job)).entries.map((entry) => entry.key).sort();
  const expected = ["charge", "left/pack", "mail", "mail#2", "never", "now", "rest", "right/pack", "shipped", "twice"];
  assert.deepEqual(keys, expected);
});

test("lost answers repeat no step", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const notes = [];
  const proxy = await forgetful(t, server, sometimes);
  working(t, orderOf(proxy.url, notes));
  const job = await client.enqueue("order");
  await client.signal(job, "shipped", "bicycle");
  assert.equal((await client.result(job, PATIENCE))[0], 990);
  assert.equal(count(notes, "charge"), 2);
  for (const note of ["pack left", "pack right", "mail 0", "mail 1"]) assert.equal(count(notes, note), 1, note);
  assert.ok(proxy.lost.includes("/v1/leases/workflow"), String(proxy.lost));
});

test("what was done is undone in reverse when it fails or is cancelled", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const worker = new Worker({ server: server.url, onLog: quiet });
  const undone = [];
  const compensate = (name) => {
    undone.push(name);
    if (undone.join() === "second") throw new Error("not now");
  };
  worker.workflow("undoes", async (ctx) => {
    for (const name of ["first", "second"]) await ctx.step(name, () => name, { compensate });
    const third = ctx.step("third", () => Promise.reject(new Error("broken")), { maxTries: 1, compensate });
    await assert.rejects(third, StepFailed);
    if (ctx.args === "waits") await ctx.waitSignal("never");
    throw new Error("there are no socks");
  });
  working(t, worker);
  let job = await client.enqueue("undoes");
  let ended = await client.wait(job, PATIENCE);
  assert.deepEqual([ended.state, ended.reason], ["discarded", "there are no socks"]);
  assert.deepEqual(undone, ["second", "second", "first"], "a compensation is tried until it succeeds");
  undone.splice(0, undone.length, "before");
  job = await client.enqueue("undoes", "waits");
  await parked(server, job);
  await client.cancel(job, "too dear");
  ended = await client.wait(job, PATIENCE);
  assert.deepEqual([ended.state, ended.reason], ["cancelled", "too dear"]);
  assert.deepEqual(undone, ["before", "second", "first"]);
});

test("a workflow that goes on for ever begins an empty journal", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const worker = new Worker({ server: server.url, onLog: quiet });
  worker.workflow("counts", async (ctx) => {
    const number = await ctx.step("one", () => ctx.args + 1);
    if (number < 3) throw new ContinueAsNew(number);
    return number;
  });
  working(t, worker);
  const job = await client.enqueue("counts", 0);
  assert.equal(await client.result(job, PATIENCE), 3);
  const { generation, entries } = await journal(server, job);
  assert.deepEqual([generation, entries.length], [2, 1]);
});

test("a race has the same winner in every run, and what has lost is undone, too", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const worker = new Worker({ server: server.url, onLog: quiet });
  const undone = [];
  const seen = [];
  worker.workflow("quote", async (ctx) => {
    const won = await ctx.race("quote", {
      bank: async (ctx) => {
        await ctx.step("ask", () => "asked", { compensate: (value) => void undone.push(value) });
        return ctx.waitSignal("bank");
      },
      rest: async (ctx) => {
        await ctx.sleep("rest", 50);
        return "too late";
      },
    });
    seen.push([won.branch, won.output, ctx.random("number"), ctx.uuid("key"), ctx.uuid("key")].join());
    await ctx.waitSignal("go");
    if (ctx.args === "fails") throw new Error("no");
    return [won.branch, won.output];
  });
  working(t, worker);
  const jobs = [await client.enqueue("quote"), await client.enqueue("quote", "fails")];
  for (const job of jobs) {
    await eventually("the race is over", async () => {
      return ((await journal(server, job))?.entries ?? []).some((entry) => entry.key === "go");
    });
    await parked(server, job);
    await client.signal(job, "bank", "cheap");
    await client.signal(job, "go");
  }
  assert.deepEqual(await client.result(jobs[0], PATIENCE), ["rest", "too late"]);
  assert.equal((await client.wait(jobs[1], PATIENCE)).state, "discarded");
  assert.deepEqual(undone, ["asked"], "the code of a branch that lost tells how its steps are undone");
  const { entries } = await journal(server, jobs[0]);
  const states = Object.fromEntries(entries.map((entry) => [entry.key, entry.state]));
  assert.deepEqual([states["quote/bank/ask"], states["quote/bank/bank"], states["quote"]], ["done", "lost", "done"]);
  assert.ok(seen.length >= 4, "each was parked");
  assert.equal(new Set(seen).size, 2, "the same in every run, and another in each workflow");
});

test("runs stay on the path and on the version that they began with", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const workerOf = (name, isPatched, earlier = []) => {
    const worker = new Worker({ server: server.url, onLog: quiet });
    worker.workflow("patched", async (ctx) => {
      await ctx.step("first", () => 1);
      const faster = isPatched && (await ctx.patched("faster"));
      await ctx.step(faster ? "fast" : "slow", () => 2);
      await ctx.waitSignal("go");
      return faster ? "new" : "old";
    });
    const code = (version) => async (ctx) => {
      await ctx.waitSignal("go");
      return version;
    };
    return worker.workflowVersions("versioned", [name, ...earlier].map((version) => [version, code(version)]));
  };
  const both = async () => {
    const jobs = [await client.enqueue("patched"), await client.enqueue("versioned")];
    for (const job of jobs) await parked(server, job);
    return jobs;
  };
  const stop = working(t, workerOf("2025", false));
  const old = await both();
  await stop();
  working(t, workerOf("2026", true, ["2025"]));
  const jobs = [...old, ...(await both())];
  for (const job of jobs) await client.signal(job, "go");
  const results = [];
  for (const job of jobs) results.push(await client.result(job, PATIENCE));
  assert.deepEqual(results, ["old", "2025", "new", "2026"]);
});

test("random numbers and ids are the same in every language", async () => {
  const vectors = JSON.parse(readFileSync(new URL("../vectors/derived.json", import.meta.url), "utf8"));
  assert.ok(vectors.length > 0);
  for (const { workflow, generation, key, random, uuid } of vectors) {
    const [, scope, name, use] = /^(.*\/)?([^#]*)#?(\d*)$/.exec(key);
    const begun = { status: "running", generation, asks: [] };
    const run = { id: workflow, lease: "", signal: new AbortController().signal };
    let found;
    const code = (ctx) => {
      const scoped = scope === undefined ? ctx : ctx.scope(scope.slice(0, -1));
      for (let n = 0; n < Number(use || 1); n += 1) found = [String(scoped.random(name)), scoped.uuid(name)];
    };
    await new Driver(run, async (body) => (body.begin ? begun : { status: "ended", asks: [] })).drive([[undefined, code]]);
    assert.deepEqual(found, [random, uuid]);
  }
});

test("workflows survive workers that are killed", async (t) => {
  const server = await Server.start(t);
  const client = new Client(server.url);
  const place = folder(t);
  const enqueued = await client.enqueueMany(Array.from({ length: 20 }, (_, n) => ({ kind: "order", args: n })));
  const jobs = enqueued.map((job) => job.id);
  for (let kill = 0; kill < 3; kill += 1) {
    const worker = program(t, [JOBS, place.path], { BACKROOM_SERVER: server.url });
    await eventually("it works", () => place.lines("charged").length > kill * 5);
    for (const job of jobs.slice(kill * 7, (kill + 1) * 7)) await client.signal(job, "shipped", kill);
    if (kill < 2) await sleep(200);
    else {
      for (const [number, job] of jobs.entries()) {
        assert.deepEqual(await client.result(job, PATIENCE), [number, Math.trunc(number / 7)]);
      }
    }
    await worker.kill();
  }
});

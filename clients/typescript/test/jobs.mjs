// A worker process for tests: `node jobs.mjs FOLDER`. It writes what it does to the folder.

import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "../dist/index.js";

const write = (name, line) => appendFileSync(join(process.argv[2], name), `${line}\n`);
const worker = new Worker({ queues: { default: 20 }, leaseMs: 3000, graceMs: Number(process.env.GRACE ?? 25_000) });

worker.handles("note", async (run) => {
  write("ran", `${run.id} ${run.lease}`);
  await sleep(10);
  return run.lease;
});

worker.handles("long", async (run) => {
  write("began", run.id);
  await sleep(run.args, undefined, { signal: run.signal });
  return "slept";
});

worker.workflow("order", async (ctx) => {
  const number = await ctx.step("charge", () => {
    write("charged", ctx.run.id);
    return ctx.args;
  });
  return [number, await ctx.waitSignal("shipped")];
});

await worker.run();
write("stopped", "in order");

// How many no-op jobs per second one Node.js worker process does: `node clients/bench/noop.mjs [JOBS]`.
//
// BACKROOM_BIN names the server's program. The client is built before: `npm ci && npm run build` in clients/typescript.

import { Client, Worker } from "../typescript/dist/index.js";
import { Server } from "../typescript/test/support.mjs";

const jobs = Number(process.argv[2] ?? 50_000);
const ends = [];
const server = await Server.start({ after: (end) => ends.unshift(end) });
await new Client(server.url).enqueueMany(Array.from({ length: jobs }, (_, args) => ({ kind: "noop", args })));
const worker = new Worker({ server: server.url, queues: { default: 1000 } });
let done = 0;
worker.handles("noop", () => {
  done += 1;
  if (done === jobs) worker.stop();
});
const began = performance.now();
// Ends when all ends are recorded.
await worker.run();
const secs = (performance.now() - began) / 1000;
console.log(`Node.js ${process.version}, 1 process, 1000 slots: ${Math.round(jobs / secs)} jobs/s`);
for (const end of ends) await end();

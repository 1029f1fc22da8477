// BullMQ (npm) in the comparison.
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

import { main } from './harness.mjs';

const QUEUE = 'mails';

await main(async ({ store, slots }) => {
  // Of its guide "Connections": a worker's connection must repeat a request for ever.
  const connection = new Redis(store, { maxRetriesPerRequest: null });
  const queue = new Queue(QUEUE, { connection });
  let worker;
  const count = async (states) => Object.values(await queue.getJobCounts(...states)).reduce((sum, jobs) => sum + jobs, 0);
  return {
    enqueue: (args) => queue.add('send_email', args),
    enqueueBatch: (emails) => queue.addBulk(emails.map((data) => ({ name: 'send_email', data }))),
    // Of its guide "Concurrency". Finished jobs stay, which is its default.
    start: async (ran) => {
      worker = new Worker(QUEUE, async (job) => ran(job.data), { connection, concurrency: slots });
      worker.on('error', (error) => console.error(`bullmq: ${error.message}`));
      await worker.waitUntilReady();
    },
    stop: () => worker.close(),
    unfinished: () => count(['waiting', 'active', 'delayed', 'prioritized', 'paused', 'waiting-children']),
    finished: () => count(['completed']),
    durability: async () => {
      const [, sync] = await connection.config('GET', 'appendfsync');
      const [, only] = await connection.config('GET', 'appendonly');
      return `appendonly=${only}, appendfsync=${sync} (server)`;
    },
  };
});

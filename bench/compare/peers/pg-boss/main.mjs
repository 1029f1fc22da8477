// pg-boss (npm) in the comparison.
import pg from 'pg';
import { PgBoss } from 'pg-boss';

import { main } from './harness.mjs';

const QUEUE = 'send_email';
// Of its documentation of `work`: batches, several workers per process, and no pause while batches come back full. A batch
// is one call of the handler, so its slots are the workers. 4 of 500 is our choice; other numbers were not tried here.
const BATCH_JOBS = 500;
const WORKERS = 4;

await main(async ({ store, slots }) => {
  // Of its documentation of the constructor: NOTIFY wakes workers at once; without it they look every 2 s.
  const boss = new PgBoss({ connectionString: store, max: slots, useListenNotify: true });
  boss.on('error', (error) => console.error(`pg-boss: ${error.message}`));
  await boss.start();
  await boss.createQueue(QUEUE, { notify: true });
  const pool = new pg.Pool({ connectionString: store, max: 1 });
  const one = async (sql) => Object.values((await pool.query(sql)).rows[0])[0];
  const count = async (states) => Number(await one(`SELECT count(*) FROM pgboss.job WHERE name = '${QUEUE}' AND state ${states}`));
  return {
    enqueue: (args) => boss.send(QUEUE, args),
    enqueueBatch: (emails) => boss.insert(QUEUE, emails.map((data) => ({ data }))),
    start: (ran) =>
      boss.work(
        QUEUE,
        { batchSize: BATCH_JOBS, localConcurrency: WORKERS, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 },
        async (jobs) => {
          for (const job of jobs) ran(job.data);
        },
      ),
    stop: () => boss.stop({ graceful: true, timeout: 10_000 }),
    unfinished: () => count(`< 'completed'`),
    finished: () => count(`= 'completed'`),
    durability: async () => `synchronous_commit=${await one('SHOW synchronous_commit')} (server)`,
  };
});

// graphile-worker (npm) in the comparison.
import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import pg from 'pg';

import { main } from './harness.mjs';

// Of the page "Performance" of its documentation: a local queue of 500 and completions that wait for the next turn of the
// event loop only. As many connections as slots and one more, as there.
const LOCAL_QUEUE_JOBS = 500;

await main(async ({ store, slots }) => {
  const pool = new pg.Pool({ connectionString: store, max: slots + 1 });
  // Its own logger writes a line per job.
  const logger = new Logger(() => () => {});
  const utils = await makeWorkerUtils({ pgPool: pool, logger });
  await utils.migrate();
  const preset = {
    worker: {
      concurrentJobs: slots,
      localQueue: { size: LOCAL_QUEUE_JOBS },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
    },
  };
  const one = async (sql) => Object.values((await pool.query(sql)).rows[0])[0];
  let runner;
  return {
    enqueue: (args) => utils.addJob('send_email', args),
    enqueueBatch: (emails) => utils.addJobs(emails.map((payload) => ({ identifier: 'send_email', payload }))),
    async start(ran) {
      const taskList = { send_email: async (args) => ran(args) };
      runner = await run({ pgPool: pool, preset, logger, noHandleSignals: true, taskList });
    },
    stop: () => runner.stop(),
    unfinished: async () => Number(await one('SELECT count(*) FROM graphile_worker._private_jobs')),
    // It deletes what is finished; there is no other place to look.
    finished: async () => 0,
    durability: async () => `synchronous_commit=${await one('SHOW synchronous_commit')}`,
  };
});

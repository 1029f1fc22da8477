// What the Node.js programs of the comparison share: the workload, the scenarios and the count of what ran. It does the same
// as the Rust one beside it (harness/src), by the same contract (README.md). It never knows which peer it measures.

const WARM_UP = 10;
const SETTLE_MS = 2_000;
const PICKUP_LIMIT_MS = 10_000;
// So that the whole is about 200 bytes.
const BODY_BYTES = 160;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const email = (number) => ({ to: `user${number}@example.com`, body: 'x'.repeat(BODY_BYTES) });
const perSecond = (count, start) => count / ((performance.now() - start) / 1000);

/** What the handlers saw. */
class Seen {
  constructor(jobs) {
    this.byNumber = new Uint32Array(jobs);
    this.runs = 0;
    this.distinct = 0;
    // Called with the number of each job that runs.
    this.told = null;
  }

  /** The first line of every handler. */
  ran(args) {
    const at = performance.now();
    const number = Number(/^user(\d+)@/.exec(args.to)?.[1]);
    // What is none of our jobs is a run too many: it is counted, but is nobody's first.
    if (number < this.byNumber.length && this.byNumber[number]++ === 0) this.distinct += 1;
    this.runs += 1;
    this.told?.(number, at);
  }
}

function request() {
  const text = (name) => {
    const value = process.env[name];
    if (value === undefined) throw new Error(`${name} is not set`);
    return value;
  };
  const number = (name) => {
    const value = Number(text(name));
    if (!Number.isInteger(value) || value <= 0) throw new Error(`${name} must be a positive number`);
    return value;
  };
  return {
    scenario: text('COMPARE_SCENARIO'),
    store: text('COMPARE_STORE'),
    jobs: number('COMPARE_JOBS'),
    batch: number('COMPARE_BATCH'),
    callers: number('COMPARE_CALLERS'),
    slots: number('COMPARE_SLOTS'),
    limitMs: number('COMPARE_LIMIT_SECS') * 1000,
  };
}

async function enqueueInBatches(peer, { jobs, batch }) {
  const start = performance.now();
  for (let first = 0; first < jobs; first += batch) {
    const length = Math.min(batch, jobs - first);
    await peer.enqueueBatch(Array.from({ length }, (_, index) => email(first + index)));
  }
  return perSecond(jobs, start);
}

async function enqueueOneByOne(peer, { jobs, callers }) {
  let next = 0;
  const start = performance.now();
  const caller = async () => {
    while (next < jobs) await peer.enqueue(email(next++));
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return perSecond(jobs, start);
}

// From just before the workers start until the store says that no job is unfinished.
async function drain(peer, { jobs, limitMs }, seen) {
  const start = performance.now();
  const inTime = () => performance.now() - start < limitMs;
  await peer.start((args) => seen.ran(args));
  while (seen.distinct < jobs && inTime()) await pause(1);
  let ended = false;
  while (seen.distinct >= jobs && !ended && inTime()) {
    ended = (await peer.unfinished()) === 0;
    if (!ended) await pause(2);
  }
  const rate = perSecond(jobs, start);
  await peer.stop();
  return {
    per_s: ended ? rate : null,
    runs: seen.runs,
    distinct: seen.distinct,
    unfinished: await peer.unfinished(),
    finished: await peer.finished(),
  };
}

// One job at a time: from just before the enqueue call to the first line of the handler.
async function pickup(peer, { jobs }, seen) {
  await peer.start((args) => seen.ran(args));
  await pause(SETTLE_MS);
  const waits = [];
  let lost = 0;
  for (let number = 0; number < WARM_UP + jobs; number++) {
    let limit;
    const takenUp = new Promise((resolve) => {
      limit = setTimeout(() => resolve(null), PICKUP_LIMIT_MS);
      seen.told = (found, at) => found === number && resolve(at);
    });
    const start = performance.now();
    await peer.enqueue(email(number));
    const at = await takenUp;
    clearTimeout(limit);
    if (at === null) lost += 1;
    else if (number >= WARM_UP) waits.push(at - start);
    await pause(20 + ((number * 7_919) % 23_000) / 1000);
  }
  await peer.stop();
  waits.sort((one, other) => one - other);
  const percentile = (part) => waits[Math.max(Math.ceil(waits.length * part) - 1, 0)] ?? null;
  return { samples: waits.length, lost, p50_ms: percentile(0.5), p99_ms: percentile(0.99) };
}

async function measure(open) {
  const asked = request();
  const seen = new Seen(asked.jobs + WARM_UP);
  const peer = await open(asked);
  const report = {};
  switch (asked.scenario) {
    case 'lifecycle':
      report.bulk_per_s = await enqueueInBatches(peer, asked);
      report.stored = await peer.unfinished();
      report.drain = await drain(peer, asked, seen);
      break;
    case 'bulk':
      report.bulk_per_s = await enqueueInBatches(peer, asked);
      report.stored = await peer.unfinished();
      break;
    case 'single':
      report.single_per_s = await enqueueOneByOne(peer, asked);
      report.stored = await peer.unfinished();
      break;
    case 'pickup':
      report.pickup = await pickup(peer, asked, seen);
      break;
    default:
      throw new Error(`there is no scenario ${asked.scenario}`);
  }
  report.durability = await peer.durability();
  return report;
}

/** Measures what the environment asks for and prints it as one line of JSON. `open` makes the peer on its fresh store. */
export async function main(open) {
  try {
    console.log(JSON.stringify(await measure(open)));
    // What a library left running has no more to say.
    process.exit(0);
  } catch (error) {
    console.error(`failed to measure: ${error?.stack ?? error}`);
    process.exit(1);
  }
}

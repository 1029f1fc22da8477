// The real server in a folder of its own, and what loses its answers on the way.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

/** No event that a test waits for takes longer on a machine that works. */
export const PATIENCE = 60_000;

export function environment(more = {}) {
  const clean = Object.entries(process.env).filter(([name]) => !name.startsWith("BACKROOM_"));
  return { ...Object.fromEntries(clean), ...more };
}

export async function eventually(what, isSo) {
  const until = performance.now() + PATIENCE;
  for (;;) {
    const found = await isSo();
    if (found) return found;
    if (performance.now() > until) throw new Error(`it does not happen: ${what}`);
    await sleep(20);
  }
}

const cleanups = new WeakMap();

/** Runs at the end of the test, the last one first. */
function after(t, end) {
  if (!cleanups.has(t)) {
    cleanups.set(t, []);
    t.after(async () => {
      for (const end of cleanups.get(t).reverse()) await end();
    });
  }
  cleanups.get(t).push(end);
}

export function folder(t) {
  const path = mkdtempSync(join(tmpdir(), "backroom-node-"));
  after(t, () => rmSync(path, { recursive: true, force: true }));
  return {
    path,
    append: (name, line) => appendFileSync(join(path, name), `${line}\n`),
    lines: (name) => {
      const file = join(path, name);
      return existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : [];
    },
  };
}

/** `backroom serve` over a SQLite file. The variable BACKROOM_BIN names the program. */
export class Server {
  #listen = "127.0.0.1:0";
  #folder;
  #process;

  static async start(t, settings = "") {
    const server = new Server();
    server.#folder = folder(t).path;
    writeFileSync(join(server.#folder, "backroom.toml"), settings);
    after(t, () => server.kill());
    await server.start();
    return server;
  }

  /** All that its store has on the disk. */
  files() {
    return Buffer.concat(readdirSync(this.#folder).map((name) => readFileSync(join(this.#folder, name))));
  }

  get url() {
    return `http://${this.#listen}`;
  }

  /** Starts it, again on the same address. */
  async start() {
    const options = { cwd: this.#folder, env: environment(), stdio: ["ignore", "ignore", "pipe"] };
    this.#process = spawn(process.env.BACKROOM_BIN, ["serve", "--listen", this.#listen], options);
    const said = [];
    for await (const line of createInterface({ input: this.#process.stderr })) {
      said.push(line);
      const found = /listening on .*?(127\.0\.0\.1:\d+)/.exec(line);
      if (found) {
        this.#listen = found[1];
        this.#process.stderr.resume();
        return;
      }
    }
    throw new Error(said.join("\n"));
  }

  async kill() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
  }

  async read(path) {
    const answer = await fetch(this.url + path);
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  }
}

/** The first answer of each path is lost, and of the later ones one in three. */
export const sometimes = (_, count) => count === 1 || Math.random() < 1 / 3;

/** A proxy that carries requests out and loses some of the answers: it closes the connection instead. */
export async function forgetful(t, server, loses) {
  const lost = [];
  const counts = new Map();
  const proxy = createServer((incoming, outgoing) => {
    const { method, url: path, headers } = incoming;
    const away = request(server.url + path, { method, headers, agent: false }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("error", () => incoming.socket.destroy());
      answer.on("end", () => {
        const count = (counts.get(path) ?? 0) + 1;
        counts.set(path, count);
        if (loses(path, count)) {
          lost.push(path);
          incoming.socket.destroy();
          return;
        }
        const { "transfer-encoding": _, ...rest } = answer.headers;
        outgoing.writeHead(answer.statusCode, { ...rest, connection: "keep-alive" });
        outgoing.end(Buffer.concat(parts));
      });
    });
    away.on("error", () => incoming.socket.destroy());
    outgoing.on("close", () => away.destroy());
    incoming.on("error", () => away.destroy());
    incoming.pipe(away);
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  after(t, () => {
    proxy.closeAllConnections();
    proxy.close();
  });
  return { url: `http://127.0.0.1:${proxy.address().port}`, lost };
}

/** A Node.js process that runs until the test ends it. */
export function program(t, args, variables, cwd) {
  const child = spawn(process.execPath, args, { cwd, env: environment(variables), stdio: ["ignore", "ignore", "ignore"] });
  const ended = once(child, "exit");
  const kill = async () => {
    child.kill("SIGKILL");
    await ended;
  };
  after(t, kill);
  return {
    kill,
    signal: (name) => child.kill(name),
    /** Asks it to stop, and answers its exit code. */
    stop: async () => {
      child.kill("SIGTERM");
      return (await ended)[0];
    },
  };
}

/** A worker in the process of the test. */
export function working(t, worker) {
  const served = worker.serve();
  const stop = async () => {
    worker.stop();
    await served;
  };
  after(t, stop);
  return stop;
}

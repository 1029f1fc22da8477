// The programs of the README and of `docs/languages.md`, run as they stand there, against the package as npm packs it.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Client } from "../dist/index.js";
import { PATIENCE, Server, environment, folder, program } from "./support.mjs";

const HERE = fileURLToPath(new URL("..", import.meta.url));

test("the programs of the page do what it says", async (t) => {
  const page = readFileSync(join(HERE, "README.md"), "utf8");
  const programs = [...page.matchAll(/```js\n(\/\/ (\S+)\n.*?)```/gs)];
  assert.deepEqual(programs.map(([, , name]) => name), ["worker.mjs", "enqueue.mjs"]);
  const server = await Server.start(t);
  const path = installed(t);
  for (const [, text, name] of programs) writeFileSync(join(path, name), text);
  const variables = { BACKROOM_SERVER: server.url };
  const worker = program(t, ["worker.mjs"], variables, path);
  const options = { cwd: path, env: environment(variables), timeout: PATIENCE };
  const { stdout } = await promisify(execFile)(process.execPath, ["enqueue.mjs"], options);
  const lines = stdout.trim().split("\n");
  assert.ok(lines.includes("line resizing"), stdout);
  const last = ["state completed", "{ width: 320 }", "Hello Ada", "Hello Grace", "cancelled", "not wanted"];
  assert.deepEqual(lines.slice(-6), last);
  assert.equal(await worker.stop(), 0);
});

test("the worker of the page of languages does its jobs", async (t) => {
  // The page, or the copy of it beside a copy of this client.
  const copy = join(HERE, "languages.md");
  const page = readFileSync(existsSync(copy) ? copy : join(HERE, "../../docs/languages.md"), "utf8");
  const text = page.split("```js\n// handlers.mjs\n")[1].split("```")[0];
  assert.ok(text.split("\n").length <= 21);
  const server = await Server.start(t);
  const path = installed(t);
  writeFileSync(join(path, "handlers.mjs"), text);
  const worker = program(t, ["handlers.mjs"], { BACKROOM_SERVER: server.url }, path);
  const client = new Client(server.url);
  assert.equal(await client.result(await client.enqueue("greet", "Ada"), PATIENCE), "Hello Ada");
  const resized = await client.enqueue("resize", { width: 640 }, { queue: "images" });
  assert.deepEqual(await client.result(resized, PATIENCE), { width: 320 });
  assert.equal(await worker.stop(), 0);
});

/** A folder in which the package is installed. */
function installed(t) {
  const { path } = folder(t);
  mkdirSync(join(path, "node_modules"));
  symlinkSync(HERE, join(path, "node_modules", "backroom-client"), "dir");
  return path;
}

// Sealed values: the vectors of all languages, another JOSE library, and jobs over a real server that must not read them.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { FlattenedEncrypt, flattenedDecrypt, importJWK } from "jose";
import { Client, KeyMissing, Keys, OpenError, Retry, Sealing, Worker } from "../dist/index.js";
import { PATIENCE, Server, environment, eventually, folder, working } from "./support.mjs";

const SECRET = "brm-marked-secret";
const copy = new URL("../vectors/sealed.json", import.meta.url);
const vectors = JSON.parse(readFileSync(existsSync(copy) ? copy : new URL("../../vectors/sealed.json", import.meta.url)));
const keys = Keys.parse(JSON.stringify(vectors.keys));
const byId = new Map(vectors.keys.keys.map((key) => [key.kid, key]));
const headerOf = (sealed) => JSON.parse(Buffer.from(sealed.protected, "base64url"));
const foreign = (kid) => importJWK(byId.get(kid), byId.get(kid).alg);
const quiet = () => {};

test("the vectors of all languages open", () => {
  assert.ok(vectors.opens.length > 5);
  for (const { name, key, sealed, aad, plain } of vectors.opens) {
    assert.equal(keys.open(key, sealed, aad).toString(), plain, name);
  }
});

test("what must be refused is refused", () => {
  assert.ok(vectors.refused.length > 5);
  for (const { name, key, sealed, aad } of vectors.refused) {
    assert.throws(() => keys.open(key, sealed, aad), OpenError, name);
  }
});

test("unique keys are those of all languages", () => {
  for (const { key, kind, text, hashed } of vectors.unique) assert.equal(keys.hashed(key, kind, text), hashed);
});

test("another library opens what is sealed here and in the vectors", async () => {
  for (const name of ["payroll", "letters"]) {
    const sealed = keys.seal(name, Buffer.from("a secret, é"), "here");
    const { plaintext } = await flattenedDecrypt(sealed, await foreign(headerOf(sealed).kid));
    assert.equal(Buffer.from(plaintext).toString(), "a secret, é");
  }
  for (const { name, sealed, aad, plain } of vectors.opens) {
    const opened = await flattenedDecrypt(sealed, await foreign(headerOf(sealed).kid));
    assert.equal(Buffer.from(opened.plaintext).toString(), plain, name);
    assert.equal(Buffer.from(opened.additionalAuthenticatedData).toString(), aad);
  }
});

test("what another library seals opens here", async () => {
  for (const [kid, alg] of [["payroll.2", "A256KW"], ["letters.1", "ECDH-ES+A256KW"]]) {
    const encrypt = new FlattenedEncrypt(Buffer.from("a secret"))
      .setProtectedHeader({ alg, enc: "A256GCM", kid })
      .setAdditionalAuthenticatedData(Buffer.from("here"));
    // A pair seals with its public part.
    const { d: _, ...key } = byId.get(kid);
    const sealed = await encrypt.encrypt(await importJWK(key, alg));
    assert.equal(keys.open(kid.split(".")[0], sealed, "here").toString(), "a secret");
  }
});

test("a key of another set is named as missing", () => {
  const sealed = keys.seal("payroll", Buffer.from("x"), "here");
  const other = { kty: "oct", kid: "payroll.2", alg: "A256KW", k: "A".repeat(43) };
  for (const set of [[], [other]]) {
    const wrong = Keys.parse(JSON.stringify({ keys: set }));
    assert.throws(() => wrong.open("payroll", sealed, "here"), (error) => error instanceof KeyMissing && error.key === "payroll.2");
  }
});

async function office(t) {
  const server = await Server.start(t, '[sensitive.pay]\nsealed = "payroll"\n');
  const { path } = folder(t);
  const file = join(path, "keys.json");
  const command = (...args) =>
    execFileSync(process.env.BACKROOM_BIN, args, { cwd: path, env: environment({ BACKROOM_KEY_FILE: file }), encoding: "utf8" });
  command("keys", "make", "payroll");
  const sealing = () => new Sealing(Keys.load(file), { pay: "payroll" });
  return { server, file, command, sealing };
}

test("the server has nothing in the clear, and who has the key reads all", async (t) => {
  const { server, file, command, sealing } = await office(t);
  const client = new Client(server.url, { sealing: sealing() });
  const worker = new Worker({ server: server.url, sealing: sealing(), onLog: quiet });
  worker.handles("pay", (run) => {
    run.progress(50, `${SECRET}-progress`);
    run.log(`${SECRET}-log`);
    if (run.args.fails) throw new Retry(`${SECRET}-error`);
    return { said: `${run.args.iban}-output` };
  });
  working(t, worker);
  const unique = { by: { key: `${SECRET}-key` } };
  const job = await client.enqueue("pay", { iban: SECRET, fails: false }, { unique });
  assert.deepEqual(await client.result(job, PATIENCE), { said: `${SECRET}-output` });
  const failed = await client.enqueue("pay", { iban: SECRET, fails: true }, { max_attempts: 1 });
  await client.wait(failed, PATIENCE);
  assert.ok(server.files().includes("ciphertext"));
  assert.ok(!server.files().includes(SECRET));
  const at = ["--server", server.url];
  assert.ok(!command("job", job, "--json", ...at).includes(SECRET));
  assert.deepEqual(JSON.parse(command("job", job, "--keys", file, "--output", ...at)), { said: `${SECRET}-output` });
  const opened = command("job", failed, "--keys", file, ...at);
  for (const said of ["error", "log", "progress"]) assert.ok(opened.includes(`${SECRET}-${said}`), said);
});

test("a client without keys is refused, and a job whose key is missing waits without charge", async (t) => {
  const { server, command, sealing } = await office(t);
  await assert.rejects(new Client(server.url).enqueue("pay", SECRET), (error) => error.code === "invalid");
  const worker = new Worker({ server: server.url, sealing: sealing(), onLog: quiet });
  worker.handles("pay", (run) => run.args);
  working(t, worker);
  command("keys", "rotate", "payroll");
  const client = new Client(server.url, { sealing: sealing() });
  const job = await client.enqueue("pay", 7);
  const found = await eventually("it is put back", async () => {
    const found = await client.get(job);
    return found.progress !== null && found.state === "queued" ? found : undefined;
  });
  assert.equal(found.attempt, 0);
  assert.match(command("job", job, "--server", server.url), /it is sealed with key payroll\.2/);
});

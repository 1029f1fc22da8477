/**
 * Seals and opens the values of jobs, as the Rust library does: flattened JWE (RFC 7516) with A256GCM, and a fresh key per value that
 * A256KW or ECDH-ES+A256KW (X25519) wraps. Give a `Sealing` to the client, and to the worker. The server never has a key.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  randomBytes,
  type KeyObject,
} from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import type { Job, NewJob } from "./json.js";

const MEMBERS = ["protected", "encrypted_key", "iv", "ciphertext", "tag", "aad"] as const;
const SYMMETRIC = "A256KW";
const PUBLIC = "ECDH-ES+A256KW";
const ENC = "A256GCM";
/** The initial value of RFC 3394. */
const WRAP_IV = Buffer.alloc(8, 0xa6);
/** Longest error that is sealed, in bytes. */
const ERROR_BYTES_MAX = 2048;

/** A sealed value: a flattened JWE. */
export type SealedValue = Record<(typeof MEMBERS)[number], string>;

/** A value cannot be opened, with whichever key. */
export class OpenError extends Error {
  override name = "OpenError";
}

/** A value is sealed with a key that is not here, or that is another one of the same id. */
export class KeyMissing extends OpenError {
  override name = "KeyMissing";

  constructor(readonly key: string) {
    super(`it is sealed with key ${key}, which is missing here`);
  }
}

interface Key {
  id: string;
  name: string;
  number: number;
  alg: string;
  secret?: Buffer;
  privateKey?: KeyObject;
  publicKey?: KeyObject;
}

const damaged = () => new OpenError("it was changed after it was sealed");
const notSealed = () => new OpenError("it is not sealed");
const wrongAlgorithm = () => new OpenError("its header names an algorithm that its key is not for");

/** base64url without padding; each text is the only one for its bytes. */
function decode(text: unknown, size?: number): Buffer {
  if (typeof text !== "string") throw notSealed();
  const bytes = Buffer.from(text, "base64url");
  if (bytes.toString("base64url") !== text || (size !== undefined && bytes.length !== size)) throw damaged();
  return bytes;
}

function isSealed(value: unknown): value is SealedValue {
  if (typeof value !== "object" || value === null) return false;
  const names = Object.keys(value);
  return names.length === MEMBERS.length && MEMBERS.every((name) => names.includes(name));
}

/** What a value is sealed for. `field` is `args`, `output LEASE`, `progress LEASE`, `log LEASE NUMBER` or `error LEASE`. */
export function place(job: string, kind: string, field: string): string {
  return `backroom:1\n${job}\n${kind}\n${field}`;
}

/** A set of keys, read from a JWK Set (RFC 7517) such as `backroom keys make` writes. */
export class Keys {
  readonly #keys = new Map<string, Key>();
  readonly #hashes = new Map<string, Buffer>();

  /** Reads a file. It must not be readable by every user of the machine. */
  static load(path: string): Keys {
    if (process.platform !== "win32" && statSync(path).mode & 0o007) {
      throw new TypeError(`every user of the machine may read ${path}; run \`chmod 600\` on it`);
    }
    return Keys.parse(readFileSync(path, "utf8"));
  }

  /** Reads the text of a JWK Set. Keys of other sorts are passed over. */
  static parse(text: string): Keys {
    const keys = new Keys();
    const ids = new Set<string>();
    for (const jwk of JSON.parse(text).keys) {
      const { kid, kty, alg, crv } = jwk;
      if (typeof kid !== "string" || ids.has(kid)) throw new TypeError(`a key has no id of its own: ${kid}`);
      ids.add(kid);
      if (kty === "oct" && alg === "HS256") {
        keys.#hashes.set(kid.replace(/\.[^.]*$/, ""), bytes32(kid, jwk.k));
      } else if (kty === "oct" && (alg === undefined || alg === SYMMETRIC)) {
        keys.#keys.set(kid, { id: kid, ...parts(kid), alg: SYMMETRIC, secret: bytes32(kid, jwk.k) });
      } else if (kty === "OKP" && crv === "X25519" && (alg === undefined || alg === PUBLIC)) {
        bytes32(kid, jwk.x);
        const publicKey = x25519(jwk.x);
        const format = "jwk" as const;
        const privateKey =
          jwk.d === undefined ? undefined : createPrivateKey({ key: { kty, crv, x: jwk.x, d: jwk.d }, format });
        keys.#keys.set(kid, { id: kid, ...parts(kid), alg: PUBLIC, publicKey, privateKey });
      }
    }
    return keys;
  }

  #current(name: string): Key {
    const named = [...this.#keys.values()].filter((key) => key.name === name);
    const [first, ...others] = named;
    if (first === undefined) {
      throw new TypeError(`there is no key of the name ${name}; \`backroom keys make ${name}\` makes one`);
    }
    return others.reduce((last, key) => (key.number > last.number ? key : last), first);
  }

  /** The ids of the keys of a name that open. */
  opening(name: string): string[] {
    const opens = (key: Key) => key.name === name && (key.secret ?? key.privateKey) !== undefined;
    return [...this.#keys.values()].filter(opens).map((key) => key.id);
  }

  /** Seals bytes for a place. */
  seal(name: string, plain: Uint8Array, aad: string): SealedValue {
    const key = this.#current(name);
    const [contentKey, iv] = [randomBytes(32), randomBytes(12)];
    const header: Record<string, unknown> = { alg: key.alg, enc: ENC, kid: key.id };
    let wrapping = key.secret;
    if (wrapping === undefined) {
      const sender = generateKeyPairSync("x25519");
      header["epk"] = { kty: "OKP", crv: "X25519", x: sender.publicKey.export({ format: "jwk" }).x };
      wrapping = derived(diffieHellman({ privateKey: sender.privateKey, publicKey: key.publicKey! }));
    }
    const wrap = createCipheriv("id-aes256-wrap", wrapping, WRAP_IV);
    const wrapped = Buffer.concat([wrap.update(contentKey), wrap.final()]);
    const protectedText = Buffer.from(JSON.stringify(header)).toString("base64url");
    const aadText = Buffer.from(aad).toString("base64url");
    const cipher = createCipheriv("aes-256-gcm", contentKey, iv);
    cipher.setAAD(Buffer.from(`${protectedText}.${aadText}`));
    const ciphertext = Buffer.concat([cipher.update(plain), cipher.final()]);
    contentKey.fill(0);
    return {
      protected: protectedText,
      encrypted_key: wrapped.toString("base64url"),
      iv: iv.toString("base64url"),
      ciphertext: ciphertext.toString("base64url"),
      tag: cipher.getAuthTag().toString("base64url"),
      aad: aadText,
    };
  }

  /** Opens what was sealed with a key of this name for this place. Throws `KeyMissing` or another `OpenError`. */
  open(name: string, sealed: unknown, aad: string): Buffer {
    if (!isSealed(sealed)) throw notSealed();
    const header = headerOf(sealed.protected);
    const key = this.#keys.get(header.kid);
    if (key === undefined) throw new KeyMissing(header.kid);
    if (key.name !== name) throw new OpenError(`it is sealed with key ${key.id}, which is not for its kind`);
    if (header.alg !== key.alg || header.enc !== ENC || (header.epk !== undefined) !== (key.alg === PUBLIC)) {
      throw wrongAlgorithm();
    }
    let wrapping = key.secret;
    if (key.alg === PUBLIC) {
      if (key.privateKey === undefined) throw new KeyMissing(key.id);
      const { kty, crv, x, ...more } = header.epk ?? {};
      if (kty !== "OKP" || crv !== "X25519" || Object.keys(more).length > 0) throw wrongAlgorithm();
      decode(x, 32);
      try {
        wrapping = derived(diffieHellman({ privateKey: key.privateKey, publicKey: x25519(x) }));
      } catch {
        throw damaged();
      }
    }
    const wrapped = decode(sealed.encrypted_key, 40);
    let contentKey: Buffer;
    try {
      const unwrap = createDecipheriv("id-aes256-wrap", wrapping!, WRAP_IV);
      contentKey = Buffer.concat([unwrap.update(wrapped), unwrap.final()]);
    } catch {
      throw new KeyMissing(key.id);
    }
    let plain: Buffer;
    const [iv, tag, ciphertext] = [decode(sealed.iv, 12), decode(sealed.tag, 16), decode(sealed.ciphertext)];
    try {
      const cipher = createDecipheriv("aes-256-gcm", contentKey, iv, { authTagLength: 16 });
      cipher.setAuthTag(tag);
      cipher.setAAD(Buffer.from(`${sealed.protected}.${sealed.aad}`));
      plain = Buffer.concat([cipher.update(ciphertext), cipher.final()]);
    } catch {
      throw damaged();
    } finally {
      contentKey.fill(0);
    }
    if (sealed.aad !== Buffer.from(aad).toString("base64url")) {
      throw new OpenError("it was sealed for another job or another field");
    }
    return plain;
  }

  /** A unique key that shows nothing: equal texts of one kind have equal ones, in every language. */
  hashed(name: string, kind: string, text: string): string {
    const secret = this.#hashes.get(name);
    if (secret === undefined) {
      throw new TypeError(`there is no key ${name}.hash, which makes unique keys; \`backroom keys make\` adds one`);
    }
    const escaped = kind.replaceAll("%", "%25").replaceAll("=", "%3D").replaceAll("#", "%23");
    return createHmac("sha256", secret).update(`${escaped}=${text}`).digest("base64url");
  }
}

/** Which kinds are sealed, each with the name of its key: `new Sealing(Keys.load("keys.json"), { pay: "payroll" })`. */
export class Sealing {
  readonly keys: Keys;
  readonly #kinds: Map<string, string>;

  constructor(keys: Keys, kinds: Record<string, string>) {
    this.keys = keys;
    this.#kinds = new Map(Object.entries(kinds));
  }

  /** A job to enqueue, with its args sealed for it if its kind is sealed. */
  job(job: NewJob): NewJob & { id?: string } {
    const name = this.#kinds.get(job.kind);
    if (name === undefined || isSealed(job.args)) return job;
    const id = uuid7();
    const sealed: NewJob & { id?: string } = { ...job, id };
    const unique = job.unique as any;
    if (unique !== undefined && unique !== null) {
      if (unique.on_conflict === "replace") {
        throw new TypeError(`args of kind ${job.kind} are sealed for one job, so they cannot replace those of another`);
      }
      if (typeof unique.by?.key !== "string") {
        throw new TypeError(`kind ${job.kind} is sealed, so a unique rule needs a key: { by: { key: … } }`);
      }
      sealed.unique = { ...unique, by: { key: this.keys.hashed(name, job.kind, unique.by.key) } };
    }
    const plain = Buffer.from(JSON.stringify(job.args ?? null));
    sealed.args = this.keys.seal(name, plain, place(id, job.kind, "args"));
    return sealed;
  }

  /** Whether values of a kind are sealed. */
  seals(kind: string): boolean {
    return this.#kinds.has(kind);
  }

  /** The args of a claimed job. Throws `KeyMissing` or another `OpenError`. */
  args(job: { id: string; kind: string; args: unknown }): any {
    const name = this.#kinds.get(job.kind);
    if (name === undefined) return job.args;
    return JSON.parse(this.keys.open(name, job.args, place(job.id, job.kind, "args")).toString());
  }

  /** The output of a job. */
  result(job: Job): any {
    const name = this.#kinds.get(job.kind);
    if (name === undefined) return job.output;
    const where = place(job.id, job.kind, `output ${job["lease_id"] as string}`);
    return JSON.parse(this.keys.open(name, job.output, where).toString());
  }

  /** An output, as it is stored. */
  value(job: string, kind: string, lease: string, value: unknown): unknown {
    const name = this.#kinds.get(kind);
    if (name === undefined) return value;
    return this.keys.seal(name, Buffer.from(JSON.stringify(value)), place(job, kind, `output ${lease}`));
  }

  /** A message, a line or an error, as it is stored. `field` is `progress LEASE`, `log LEASE NUMBER` or `error LEASE`. */
  text(job: string, kind: string, field: string, text: string): string {
    const name = this.#kinds.get(kind);
    if (name === undefined || (text === "" && field.startsWith("progress"))) return text;
    let plain = Buffer.from(text);
    if (field.startsWith("error") && plain.length > ERROR_BYTES_MAX) {
      plain = Buffer.from(plain.subarray(0, ERROR_BYTES_MAX).toString());
    }
    return JSON.stringify(this.keys.seal(name, plain, place(job, kind, field)));
  }

  /** The ids of the keys that open values here. They are no secrets. */
  opening(): string[] {
    return [...new Set([...this.#kinds.values()].flatMap((name) => this.keys.opening(name)))].sort();
  }

  /** Whether a job of this kind could be opened at all. */
  canOpen(kind: string): boolean {
    const name = this.#kinds.get(kind);
    return name === undefined || this.keys.opening(name).length > 0;
  }
}

interface Header {
  alg: string;
  enc: string;
  kid: string;
  epk?: Record<string, unknown>;
}

function headerOf(text: string): Header {
  const json = decode(text).toString();
  let header: Header;
  try {
    header = JSON.parse(json);
  } catch {
    throw notSealed();
  }
  if (typeof header !== "object" || header === null) throw notSealed();
  // Others could ask for compression, or for algorithms that are not allowed.
  const names = Object.keys(header).filter((name) => name !== "epk");
  const isKnown = names.length === 3 && ["alg", "enc", "kid"].every((name) => names.includes(name));
  // A parser takes the last of two members of one name; another one may take the first.
  const isOnce = names.every((name) => json.split(`"${name}"`).length === 2);
  if (!isKnown || !isOnce) throw notSealed();
  return header;
}

function parts(kid: string): { name: string; number: number } {
  const found = /^(.+)\.([0-9]+)$/.exec(kid);
  return found === null ? { name: kid, number: 0 } : { name: found[1]!, number: Number(found[2]) };
}

function bytes32(kid: string, text: unknown): Buffer {
  try {
    return decode(text, 32);
  } catch {
    throw new TypeError(`key ${kid} is not 32 bytes in base64url without padding`);
  }
}

function x25519(x: unknown): KeyObject {
  return createPublicKey({ key: { kty: "OKP", crv: "X25519", x: x as string }, format: "jwk" });
}

/** The Concat KDF of RFC 7518, section 4.6.2, for 256 bits, without names of the parties. */
function derived(shared: Buffer): Buffer {
  const name = Buffer.from(PUBLIC);
  const number = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const info = [number(name.length), name, Buffer.alloc(8), number(256)];
  return createHash("sha256").update(Buffer.concat([number(1), shared, ...info])).digest();
}

function uuid7(): string {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Date.now(), 0, 6);
  bytes[6] = (bytes[6]! & 0x0f) | 0x70;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString("hex");
  return [8, 12, 16, 20, 32].map((end, index) => hex.slice([0, 8, 12, 16, 20][index], end)).join("-");
}

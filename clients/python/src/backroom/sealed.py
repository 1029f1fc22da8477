"""Seals and opens the values of jobs, as the Rust library does: flattened JWE (RFC 7516) with A256GCM, and a fresh key per value that
A256KW or ECDH-ES+A256KW (X25519) wraps. Needs the package `cryptography`: `pip install backroom-client[sealed]`.

Give a `Sealing` to the client, and to the worker. The server never has a key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
import uuid
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MEMBERS = ("protected", "encrypted_key", "iv", "ciphertext", "tag", "aad")
SYMMETRIC = "A256KW"
PUBLIC = "ECDH-ES+A256KW"
ENC = "A256GCM"
#: Longest error that is sealed, in bytes.
ERROR_BYTES_MAX = 2048


class OpenError(Exception):
    """A value cannot be opened, with whichever key."""


class KeyMissing(OpenError):
    """A value is sealed with a key that is not here, or that is another one of the same id."""

    def __init__(self, key: str) -> None:
        super().__init__(f"it is sealed with key {key}, which is missing here")
        self.key = key


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: Any) -> bytes:
    """base64url without padding; each text is the only one for its bytes."""
    if not isinstance(text, str):
        raise OpenError("it is not sealed")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except ValueError:
        raise OpenError("it was changed after it was sealed") from None
    if encode(data) != text:
        raise OpenError("it was changed after it was sealed")
    return data


def is_sealed(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == set(MEMBERS)


def place(job: str, kind: str, field: str) -> str:
    """What a value is sealed for. `field` is `args`, `output LEASE`, `progress LEASE`, `log LEASE NUMBER` or `error LEASE`."""
    return f"backroom:1\n{job}\n{kind}\n{field}"


@dataclass(frozen=True)
class Key:
    id: str
    name: str
    number: int
    alg: str
    secret: Optional[bytes]
    public: Optional[bytes]

    @property
    def opens(self) -> bool:
        return self.secret is not None

    def __repr__(self) -> str:
        return f"Key({self.id!r}, {self.alg})"


class Keys:
    """A set of keys, read from a JWK Set (RFC 7517) such as `backroom keys make` writes."""

    def __init__(self, keys: List[Key], hashes: Mapping[str, bytes]) -> None:
        self._keys = {key.id: key for key in keys}
        self._hashes = dict(hashes)

    @classmethod
    def load(cls, path: str) -> Keys:
        """Reads a file. It must not be readable by every user of the machine."""
        with open(path, encoding="utf-8") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o007:
                raise ValueError(f"every user of the machine may read {path}; run `chmod 600` on it")
            return cls.parse(file.read())

    @classmethod
    def parse(cls, text: str) -> Keys:
        """Reads the text of a JWK Set. Keys of other sorts are passed over."""
        keys: List[Key] = []
        hashes: Dict[str, bytes] = {}
        ids = set()
        for jwk in json.loads(text)["keys"]:
            kid = jwk["kid"]
            if kid in ids:
                raise ValueError(f"two keys have the id {kid!r}")
            ids.add(kid)
            kty, alg = jwk["kty"], jwk.get("alg")
            if kty == "oct" and alg == "HS256":
                hashes[kid.rpartition(".")[0]] = _bytes32(kid, jwk.get("k"))
            elif kty == "oct" and alg in (None, SYMMETRIC):
                keys.append(Key(kid, *_parts(kid), SYMMETRIC, _bytes32(kid, jwk.get("k")), None))
            elif kty == "OKP" and jwk.get("crv") == "X25519" and alg in (None, PUBLIC):
                public = _bytes32(kid, jwk.get("x"))
                private = _bytes32(kid, jwk["d"]) if "d" in jwk else None
                keys.append(Key(kid, *_parts(kid), PUBLIC, private, public))
        return cls(keys, hashes)

    def current(self, name: str) -> Key:
        """The key of a name that seals: that with the highest number."""
        named = [key for key in self._keys.values() if key.name == name]
        if not named:
            raise ValueError(f"there is no key of the name {name!r}; `backroom keys make {name}` makes one")
        return max(named, key=lambda key: key.number)

    def opening(self, name: str) -> List[str]:
        """The ids of the keys of a name that open."""
        return [key.id for key in self._keys.values() if key.name == name and key.opens]

    def seal(self, name: str, plain: bytes, aad: str) -> Dict[str, str]:
        """Seals bytes for a place."""
        key = self.current(name)
        content_key, iv = secrets.token_bytes(32), secrets.token_bytes(12)
        header: Dict[str, Any] = {"alg": key.alg, "enc": ENC, "kid": key.id}
        if key.alg == SYMMETRIC:
            assert key.secret is not None
            wrapping = key.secret
        else:
            assert key.public is not None
            sender = X25519PrivateKey.generate()
            own = sender.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            header["epk"] = {"kty": "OKP", "crv": "X25519", "x": encode(own)}
            wrapping = _derived(sender.exchange(X25519PublicKey.from_public_bytes(key.public)))
        protected = encode(json.dumps(header, separators=(",", ":")).encode())
        place_text = encode(aad.encode())
        sealed = AESGCM(content_key).encrypt(iv, plain, f"{protected}.{place_text}".encode())
        return {
            "protected": protected,
            "encrypted_key": encode(aes_key_wrap(wrapping, content_key)),
            "iv": encode(iv),
            "ciphertext": encode(sealed[:-16]),
            "tag": encode(sealed[-16:]),
            "aad": place_text,
        }

    def open(self, name: str, sealed: Any, aad: str) -> bytes:
        """Opens what was sealed with a key of this name for this place. Raises `KeyMissing` or another `OpenError`."""
        if not is_sealed(sealed):
            raise OpenError("it is not sealed")
        header = self._header(sealed["protected"])
        key = self._keys.get(header["kid"])
        if key is None:
            raise KeyMissing(header["kid"])
        if key.name != name:
            raise OpenError(f"it is sealed with key {key.id}, which is not for its kind")
        if header["alg"] != key.alg or header["enc"] != ENC or ("epk" in header) != (key.alg == PUBLIC):
            raise OpenError("its header names an algorithm that its key is not for")
        if key.secret is None:
            raise KeyMissing(key.id)
        if key.alg == SYMMETRIC:
            wrapping = key.secret
        else:
            epk = header["epk"]
            if not isinstance(epk, dict) or set(epk) != {"kty", "crv", "x"} or (epk["kty"], epk["crv"]) != ("OKP", "X25519"):
                raise OpenError("its header names an algorithm that its key is not for")
            try:
                other = X25519PublicKey.from_public_bytes(_sized(epk["x"], 32))
                wrapping = _derived(X25519PrivateKey.from_private_bytes(key.secret).exchange(other))
            except ValueError:
                raise OpenError("it was changed after it was sealed") from None
        try:
            content_key = aes_key_unwrap(wrapping, _sized(sealed["encrypted_key"], 40))
        except InvalidUnwrap:
            raise KeyMissing(key.id) from None
        authenticated = f"{sealed['protected']}.{sealed['aad']}".encode()
        data = decode(sealed["ciphertext"]) + _sized(sealed["tag"], 16)
        try:
            plain = AESGCM(content_key).decrypt(_sized(sealed["iv"], 12), data, authenticated)
        except InvalidTag:
            raise OpenError("it was changed after it was sealed") from None
        if sealed["aad"] != encode(aad.encode()):
            raise OpenError("it was sealed for another job or another field")
        return plain

    def hashed(self, name: str, kind: str, text: str) -> str:
        """A unique key that shows nothing: equal texts of one kind have equal ones, in every language."""
        if name not in self._hashes:
            raise ValueError(f"there is no key {name}.hash, which makes unique keys; `backroom keys make` adds one")
        kind = kind.replace("%", "%25").replace("=", "%3D").replace("#", "%23")
        return encode(hmac.new(self._hashes[name], f"{kind}={text}".encode(), hashlib.sha256).digest())

    @staticmethod
    def _header(protected: Any) -> Dict[str, Any]:
        def once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
            if len({name for name, _ in pairs}) != len(pairs):
                raise OpenError("it is not sealed")
            return dict(pairs)

        try:
            header = json.loads(decode(protected), object_pairs_hook=once)
        except ValueError:
            raise OpenError("it is not sealed") from None
        # Others could ask for compression, or for algorithms that are not allowed.
        if not isinstance(header, dict) or set(header) - {"epk"} != {"alg", "enc", "kid"}:
            raise OpenError("it is not sealed")
        return header


class Sealing:
    """Which kinds are sealed, each with the name of its key: `Sealing(Keys.load("keys.json"), {"pay": "payroll"})`."""

    def __init__(self, keys: Keys, kinds: Mapping[str, str]) -> None:
        self.keys = keys
        self.kinds = dict(kinds)

    def job(self, job: Mapping[str, Any]) -> Mapping[str, Any]:
        """A job to enqueue, with its args sealed for it if its kind is sealed."""
        name = self.kinds.get(job["kind"])
        if name is None or is_sealed(job.get("args")):
            return job
        sealed = dict(job)
        sealed["id"] = job.get("id") or _uuid7()
        unique = job.get("unique")
        if unique is not None:
            if unique.get("on_conflict") == "replace":
                raise ValueError(f"args of kind {job['kind']!r} are sealed for one job, so they cannot replace those of another")
            if not isinstance(unique.get("by"), dict) or "key" not in unique["by"]:
                raise ValueError(f"kind {job['kind']!r} is sealed, so a unique rule needs a key: {{'by': {{'key': …}}}}")
            hashed = self.keys.hashed(name, job["kind"], unique["by"]["key"])
            sealed["unique"] = {**unique, "by": {"key": hashed}}
        plain = _json(job.get("args"))
        sealed["args"] = self.keys.seal(name, plain, place(sealed["id"], job["kind"], "args"))
        return sealed

    def args(self, job: Mapping[str, Any]) -> Any:
        """The args of a claimed job. Raises `KeyMissing` or another `OpenError`."""
        name = self.kinds.get(job["kind"])
        if name is None:
            return job["args"]
        return json.loads(self.keys.open(name, job["args"], place(job["id"], job["kind"], "args")))

    def result(self, job: Mapping[str, Any]) -> Any:
        """The output of a job."""
        name = self.kinds.get(job["kind"])
        if name is None:
            return job["output"]
        return json.loads(self.keys.open(name, job["output"], place(job["id"], job["kind"], f"output {job['lease_id']}")))

    def value(self, job: str, kind: str, lease: str, value: Any) -> Any:
        """An output, as it is stored."""
        name = self.kinds.get(kind)
        return value if name is None else self.keys.seal(name, _json(value), place(job, kind, f"output {lease}"))

    def text(self, job: str, kind: str, field: str, text: str) -> str:
        """A message, a line or an error, as it is stored. `field` is `progress LEASE`, `log LEASE NUMBER` or `error LEASE`."""
        name = self.kinds.get(kind)
        if name is None or not text and field.startswith("progress"):
            return text
        if field.startswith("error"):
            text = text.encode("utf-8", "replace")[:ERROR_BYTES_MAX].decode("utf-8", "ignore")
        return _json(self.keys.seal(name, text.encode(), place(job, kind, field))).decode()

    def opening(self) -> List[str]:
        """The ids of the keys that open values here. They are no secrets."""
        return sorted({key for name in self.kinds.values() for key in self.keys.opening(name)})

    def can_open(self, kind: str) -> bool:
        """Whether a job of this kind could be opened at all."""
        return kind not in self.kinds or bool(self.keys.opening(self.kinds[kind]))


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def _parts(kid: str) -> Tuple[str, int]:
    name, point, number = kid.rpartition(".")
    return (name, int(number)) if point and name and number.isascii() and number.isdigit() else (kid, 0)


def _sized(text: Any, size: int) -> bytes:
    data = decode(text)
    if len(data) != size:
        raise OpenError("it was changed after it was sealed")
    return data


def _bytes32(kid: str, text: Any) -> bytes:
    try:
        return _sized(text, 32)
    except OpenError:
        raise ValueError(f"key {kid!r} is not 32 bytes in base64url without padding") from None


def _derived(shared: bytes) -> bytes:
    """The Concat KDF of RFC 7518, section 4.6.2, for 256 bits, without names of the parties."""
    name = PUBLIC.encode()
    info = len(name).to_bytes(4, "big") + name + bytes(8) + (256).to_bytes(4, "big")
    return hashlib.sha256((1).to_bytes(4, "big") + shared + info).digest()


def _uuid7() -> str:
    millis = time.time_ns() // 1_000_000
    bits = millis << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=bits))


__all__ = ["Key", "KeyMissing", "Keys", "OpenError", "Sealing"]

"""Sealed values: the vectors of all languages, another JOSE library, and jobs over a real server that must not read them."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any, Dict

from jwcrypto import jwe, jwk

from backroom import Client, Problem, Retry, Run, Worker
from backroom.sealed import KeyMissing, Keys, OpenError, Sealing, decode, encode, place

from .support import HERE, PATIENCE, Server, environment, eventually
from .test_client import Working

SECRET = "brm-marked-secret"


def vectors() -> Dict[str, Any]:
    copy = HERE.parent / "vectors/sealed.json"
    found: Dict[str, Any] = json.loads((copy if copy.exists() else HERE.parents[1] / "vectors/sealed.json").read_text())
    return found


def foreign(key: Dict[str, Any]) -> Any:
    """A key as jwcrypto takes it."""
    return jwk.JWK(**key)


class Values(unittest.TestCase):
    def setUp(self) -> None:
        self.vectors = vectors()
        self.keys = Keys.parse(json.dumps(self.vectors["keys"]))

    def test_the_vectors_of_all_languages_open(self) -> None:
        self.assertGreater(len(self.vectors["opens"]), 5)
        for case in self.vectors["opens"]:
            with self.subTest(case["name"]):
                self.assertEqual(place(case["job"], case["kind"], case["field"]), case["aad"])
                plain = self.keys.open(case["key"], case["sealed"], case["aad"])
                self.assertEqual(plain.decode(), case["plain"])

    def test_what_must_be_refused_is_refused(self) -> None:
        self.assertGreater(len(self.vectors["refused"]), 5)
        for case in self.vectors["refused"]:
            with self.subTest(case["name"]), self.assertRaises(OpenError):
                self.keys.open(case["key"], case["sealed"], case["aad"])

    def test_unique_keys_are_those_of_all_languages(self) -> None:
        for case in self.vectors["unique"]:
            self.assertEqual(self.keys.hashed(case["key"], case["kind"], case["text"]), case["hashed"])

    def test_another_library_opens_what_is_sealed_here_and_in_the_vectors(self) -> None:
        by_id = {key["kid"]: key for key in self.vectors["keys"]["keys"]}
        for name in ("payroll", "letters"):
            sealed = self.keys.seal(name, "a secret, é".encode(), "here")
            kid = json.loads(decode(sealed["protected"]))["kid"]
            token = jwe.JWE()
            token.deserialize(json.dumps(sealed), foreign(by_id[kid]))
            self.assertEqual(token.payload.decode(), "a secret, é")
        # It takes an empty text for a failure.
        for case in (case for case in self.vectors["opens"] if case["plain"]):
            kid = json.loads(decode(case["sealed"]["protected"]))["kid"]
            token = jwe.JWE()
            token.deserialize(json.dumps(case["sealed"]), foreign(by_id[kid]))
            self.assertEqual(token.payload.decode(), case["plain"], case["name"])

    def test_what_another_library_seals_opens_here(self) -> None:
        by_id = {key["kid"]: key for key in self.vectors["keys"]["keys"]}
        # With a pair it writes the sender's key outside of the protected header, where it is refused.
        header = json.dumps({"alg": "A256KW", "enc": "A256GCM", "kid": "payroll.2"})
        token = jwe.JWE(b"a secret", header, aad="here", recipient=foreign(by_id["payroll.2"]))
        sealed = json.loads(token.serialize())
        self.assertEqual(self.keys.open("payroll", sealed, "here"), b"a secret")

    def test_a_key_of_another_set_is_named_as_missing(self) -> None:
        sealed = self.keys.seal("payroll", b"x", "here")
        other = {"kty": "oct", "kid": "payroll.2", "alg": "A256KW", "k": encode(bytes(32))}
        for keys in ([], [other]):
            with self.assertRaises(KeyMissing) as raised:
                Keys.parse(json.dumps({"keys": keys})).open("payroll", sealed, "here")
            self.assertEqual(raised.exception.key, "payroll.2")


class Jobs(unittest.TestCase):
    def setUp(self) -> None:
        self.server = Server('[sensitive.pay]\nsealed = "payroll"\n')
        self.addCleanup(self.server.close)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name) / "keys.json"
        self.command("keys", "make", "payroll")
        self.sealing = Sealing(Keys.load(str(self.file)), {"pay": "payroll"})
        self.client = Client(self.server.url, sealing=self.sealing)
        self.addCleanup(self.client.close)

    def command(self, *args: str) -> str:
        variables = environment(BACKROOM_KEY_FILE=str(self.file))
        command = [os.environ["BACKROOM_BIN"], *args]
        return subprocess.run(command, env=variables, cwd=self.file.parent, check=True, stdout=subprocess.PIPE, text=True).stdout

    def test_the_server_has_nothing_in_the_clear_and_who_has_the_key_reads_all(self) -> None:
        worker = Worker(self.server.url, sealing=self.sealing)

        @worker.handles("pay")
        def pay(run: Run) -> Dict[str, str]:
            run.progress(50, f"{SECRET}-progress")
            run.log(f"{SECRET}-log")
            if run.args["fails"]:
                raise Retry(f"{SECRET}-error")
            return {"said": run.args["iban"] + "-output"}

        working = Working(worker)
        self.addCleanup(working.stop)
        unique = {"by": {"key": f"{SECRET}-key"}}
        job = self.client.enqueue("pay", {"iban": SECRET, "fails": False}, unique=unique)
        self.assertEqual(self.client.result(job, PATIENCE), {"said": f"{SECRET}-output"})
        failed = self.client.enqueue("pay", {"iban": SECRET, "fails": True}, max_attempts=1)
        self.client.wait(failed, PATIENCE)
        self.assertIn(b"ciphertext", self.server.files())
        self.assertNotIn(SECRET.encode(), self.server.files())
        server = ("--server", self.server.url)
        self.assertNotIn(SECRET, self.command("job", job, "--json", *server))
        output = self.command("job", job, "--keys", str(self.file), "--output", *server)
        self.assertEqual(json.loads(output), {"said": f"{SECRET}-output"})
        opened = self.command("job", failed, "--keys", str(self.file), *server)
        for said in ("error", "log", "progress"):
            self.assertIn(f"{SECRET}-{said}", opened)

    def test_a_client_without_keys_is_refused(self) -> None:
        with Client(self.server.url) as plain, self.assertRaises(Problem) as raised:
            plain.enqueue("pay", {"iban": SECRET})
        self.assertEqual(raised.exception.code, "invalid")

    def test_a_job_whose_key_is_missing_waits_without_charge(self) -> None:
        old = self.sealing
        self.command("keys", "rotate", "payroll")
        self.client = Client(self.server.url, sealing=Sealing(Keys.load(str(self.file)), {"pay": "payroll"}))
        self.addCleanup(self.client.close)
        worker = Worker(self.server.url, sealing=old)
        worker.handles("pay")(lambda run: run.args)
        working = Working(worker)
        job = self.client.enqueue("pay", 7)
        found = eventually("it is put back", lambda: self._put_back(job))
        self.assertEqual((found["state"], found["attempt"]), ("queued", 0))
        explained = self.command("job", job, "--server", self.server.url)
        self.assertIn("it is sealed with key payroll.2", explained)
        working.stop()

    def _put_back(self, job: str) -> Any:
        found = self.client.get(job)
        return found if found["progress"] and found["state"] == "queued" else None


if __name__ == "__main__":
    unittest.main()

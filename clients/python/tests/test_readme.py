"""The programs of the README and of `docs/languages.md`, run as they stand there."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from backroom import Client

from .support import HERE, PATIENCE, Server, environment


def languages() -> str:
    """The page, or the copy of it beside a copy of this client."""
    copy = HERE.parent / "languages.md"
    return (copy if copy.exists() else HERE.parents[2] / "docs/languages.md").read_text()


class Readme(unittest.TestCase):
    def test_the_programs_of_the_page_do_what_it_says(self) -> None:
        page = (HERE.parent / "README.md").read_text()
        programs = {match[1]: match[0] for match in re.findall(r"```python\n(# (\S+)\n.*?)```", page, re.DOTALL)}
        self.assertEqual(sorted(programs), ["enqueue.py", "enqueue_async.py", "worker.py"])
        server = Server()
        self.addCleanup(server.close)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name, text in programs.items():
            (Path(folder.name) / name).write_text(text)
        variables = environment(BACKROOM_SERVER=server.url)

        def end() -> None:
            worker.kill()
            worker.wait()

        worker = subprocess.Popen([sys.executable, "worker.py"], cwd=folder.name, env=variables)
        self.addCleanup(end)

        def said(name: str) -> "list[str]":
            command = [sys.executable, name]
            out = subprocess.check_output(command, cwd=folder.name, env=variables, text=True, timeout=PATIENCE)
            return out.splitlines()

        lines = said("enqueue.py")
        self.assertIn("line resizing", lines)
        self.assertEqual(lines[-5:], ["state completed", "{'width': 320}", "['Hello Ada', 'Hello Grace']", "cancelled", "not wanted"])
        self.assertEqual(said("enqueue_async.py")[-1], "Hello Barbara")
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(PATIENCE), 0)

    def test_the_worker_of_the_page_of_languages_does_its_jobs(self) -> None:
        text = languages().split("```python\n# handlers.py\n")[1].split("```")[0]
        self.assertLessEqual(len(text.splitlines()), 20)
        server = Server()
        self.addCleanup(server.close)
        worker = subprocess.Popen([sys.executable, "-c", text], env=environment(BACKROOM_SERVER=server.url))
        with Client(server.url) as client:
            self.assertEqual(client.result(client.enqueue("greet", "Ada"), PATIENCE), "Hello Ada")
            resized = client.enqueue("resize", {"width": 640}, queue="images")
            self.assertEqual(client.result(resized, PATIENCE), {"width": 320})
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(PATIENCE), 0)

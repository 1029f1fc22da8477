"""The real server in a folder of its own, and what loses its answers on the way."""

from __future__ import annotations

import http.client
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

HERE = Path(__file__).parent
#: No event that a test waits for takes longer on a machine that works.
PATIENCE = 60.0


def environment(**more: str) -> Dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BACKROOM_")}
    if "PYTHONPATH" in clean:
        clean["PYTHONPATH"] = str(Path(clean["PYTHONPATH"]).absolute())
    return {**clean, "PYTHONUNBUFFERED": "1", **more}


def eventually(what: str, is_so: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE
    while True:
        found = is_so()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"it does not happen: {what}")
        time.sleep(0.02)


class Server:
    """`backroom serve` over a SQLite file. The variable BACKROOM_BIN names the program."""

    def __init__(self, settings: str = "") -> None:
        self._folder = tempfile.mkdtemp(prefix="backroom-python-")
        (Path(self._folder) / "backroom.toml").write_text(settings)
        self._listen = "127.0.0.1:0"
        self.process: Optional["subprocess.Popen[str]"] = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://{self._listen}"

    def files(self) -> bytes:
        """All that its store has on the disk."""
        return b"".join(path.read_bytes() for path in Path(self._folder).iterdir() if path.is_file())

    def start(self) -> None:
        """Starts it, again on the same address."""
        command = [os.environ["BACKROOM_BIN"], "serve", "--listen", self._listen]
        self.process = subprocess.Popen(
            command, cwd=self._folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        said: List[str] = []
        for line in self.process.stderr:
            said.append(line)
            found = re.search(r"listening on .*?(127\.0\.0\.1:\d+)", line)
            if found:
                self._listen = found.group(1)
                threading.Thread(target=_drain, args=(self.process.stderr,), daemon=True).start()
                return
        raise AssertionError("".join(said))

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def _drain(log: Any) -> None:
    with log:
        log.read()


class Forgetful:
    """A proxy that carries requests out and loses some of the answers: it closes the connection instead."""

    def __init__(self, server: Server, loses: Callable[[str, int], bool]) -> None:
        self._server, self._loses = server, loses
        self._counts: Dict[str, int] = {}
        self.lost: List[str] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        try:
            while self._one(connection, reader):
                pass
        except (OSError, http.client.HTTPException, ValueError):
            pass  # The client or the server has gone.
        finally:
            reader.close()
            connection.close()

    def _one(self, connection: socket.socket, reader: Any) -> bool:
        line = reader.readline().decode()
        if not line:
            return False
        method, path, _ = line.split(" ")
        headers = dict(one.split(": ", 1) for one in iter(lambda: reader.readline().decode().strip(), ""))
        named = {name.lower(): value for name, value in headers.items()}
        body = reader.read(int(named.get("content-length", "0")))
        away = http.client.HTTPConnection(self._server.url[7:], timeout=PATIENCE)
        away.request(method, path, body, {name: value for name, value in named.items() if name != "content-length"})
        answer = away.getresponse()
        text = answer.read()
        away.close()
        with self._lock:
            count = self._counts[path] = self._counts.get(path, 0) + 1
            if self._loses(path, count):
                self.lost.append(path)
                return False
        kind = answer.getheader("content-type", "text/plain")
        retry = answer.getheader("retry-after")
        more = f"retry-after: {retry}\r\n" if retry else ""
        head = f"HTTP/1.1 {answer.status} X\r\ncontent-type: {kind}\r\n{more}content-length: {len(text)}\r\n\r\n"
        connection.sendall(head.encode() + text)
        return True


def sometimes(path: str, count: int) -> bool:
    """The first answer of each path is lost, and of the later ones one in three."""
    return count == 1 or random.random() < 1 / 3

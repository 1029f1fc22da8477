"""HTTP/1.1 over the streams of asyncio: as much of it as the API needs."""

from __future__ import annotations

import asyncio
import ssl
from typing import AsyncIterator, Dict, List, Mapping, Optional, Tuple
from urllib.parse import urlsplit

from ._calls import Answer, Lost, Request

HEADER_BYTES = 1 << 16
BODY_BYTES = 64 << 20

Connection = Tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Http:
    """Connections to one server, reused."""

    def __init__(self, server: str, token: Optional[str]) -> None:
        url = urlsplit(server)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"{server!r} is no URL of a server")
        self._host, self._tls = url.hostname, url.scheme == "https"
        self._port = url.port or (443 if self._tls else 80)
        self._path = url.path.rstrip("/")
        name = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
        self._headers = {"host": name if url.port is None else f"{name}:{url.port}"}
        if token is not None:
            if not token.isascii() or not token.isprintable():
                raise ValueError("the token has characters that no token has")
            self._headers["authorization"] = f"Bearer {token}"
        self._idle: List[Connection] = []

    async def exchange(self, request: Request) -> Answer:
        """The answer, or the exception `Lost`. A caller that is cancelled closes the connection."""
        connection = None
        try:
            async with _Limit(request.secs):
                connection = self._reusable() or await self._connect()
                reader, _ = connection
                status, headers = await self._begin(connection, request)
                body = await _body(reader, status, headers)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError, asyncio.TimeoutError) as error:
            _close(connection)
            self.close()
            raise Lost(str(error) or type(error).__name__) from error
        except BaseException:
            _close(connection)
            raise
        if headers.get("connection", "").lower() == "close":
            _close(connection)
        else:
            self._idle.append(connection)
        return Answer(status, headers, body)

    async def lines(self, request: Request) -> AsyncIterator[str]:
        """The lines of an answer that does not end soon. Yields its status first, as a line `status N`."""
        connection = None
        try:
            async with _Limit(request.secs):
                connection = await self._connect()
                status, headers = await self._begin(connection, request)
            yield f"status {status}"
            rest = b""
            while True:
                # The server sends a comment every 15 s.
                async with _Limit(60.0):
                    part = await _chunk(connection[0], headers)
                if not part:
                    return
                *whole, rest = (rest + part).split(b"\n")
                for line in whole:
                    yield line.decode().rstrip("\r")
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError, asyncio.TimeoutError) as error:
            raise Lost(str(error) or type(error).__name__) from error
        finally:
            _close(connection)

    def close(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            _close(connection)

    def _reusable(self) -> Optional[Connection]:
        """An idle connection that the server has not closed in the meantime."""
        while self._idle:
            connection = self._idle.pop()
            if not connection[0].at_eof() and not connection[1].is_closing():
                return connection
            _close(connection)
        return None

    async def _connect(self) -> Connection:
        context = ssl.create_default_context() if self._tls else None
        return await asyncio.open_connection(self._host, self._port, ssl=context, limit=HEADER_BYTES)

    async def _begin(self, connection: Connection, request: Request) -> Tuple[int, Dict[str, str]]:
        reader, writer = connection
        body = request.body or b""
        lines = [f"{request.method} {self._path}{request.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in {**self._headers, **request.headers}.items()]
        if body or request.method != "GET":
            lines.append(f"content-length: {len(body)}")
        head = "\r\n".join(lines)
        if head.count("\n") != len(lines) - 1:
            raise ValueError("a line break in a header")
        writer.write(head.encode("latin-1") + b"\r\n\r\n" + body)
        await writer.drain()
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = text[:-4].split("\r\n")
        headers = {}
        for line in rest:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(first.split(" ")[1]), headers


async def _body(reader: asyncio.StreamReader, status: int, headers: Mapping[str, str]) -> bytes:
    if status in (204, 304):
        return b""
    if "content-length" in headers:
        length = int(headers["content-length"])
        if length > BODY_BYTES:
            raise ValueError("the answer is too large")
        return await reader.readexactly(length)
    parts: List[bytes] = []
    size = 0
    while True:
        part = await _chunk(reader, headers)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > BODY_BYTES:
            raise ValueError("the answer is too large")


async def _chunk(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    """The next part of a body in chunks; nothing at its end."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        raise ValueError("the answer has no length")
    size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
    if size > BODY_BYTES:
        raise ValueError("the answer is too large")
    part = await reader.readexactly(size)
    await reader.readexactly(2)
    return part


def _close(connection: Optional[Connection]) -> None:
    if connection is not None:
        connection[1].close()


class _Limit:
    """`asyncio.timeout`, which Python 3.11 has."""

    def __init__(self, secs: float) -> None:
        self._secs = secs
        self._over = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None

        def end() -> None:
            self._over = True
            task.cancel()

        self._handle = asyncio.get_running_loop().call_later(self._secs, end)

    async def __aexit__(self, kind: Optional[type], error: object, trace: object) -> None:
        self._handle.cancel()
        if self._over and kind is not None and issubclass(kind, asyncio.CancelledError):
            uncancel = getattr(asyncio.current_task(), "uncancel", None)
            if uncancel is not None:
                uncancel()
            raise asyncio.TimeoutError("no answer in time")

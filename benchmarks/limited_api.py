"""A reverse proxy of a Prefect server that limits requests as Prefect Cloud does."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

BLOCK = 2**16  # bytes


class LimitedApi:
    """Passes on at most `most` requests in each `period` seconds, and answers 429 to the others.

    Each `Retry-After` is the rest of the period. A WebSocket counts as one request.
    """

    def __init__(self, api_url: str, most: int, period: float) -> None:
        self._to = urlsplit(api_url)
        self._most = most
        self._period = period
        self._started = time.monotonic()
        self._passed: dict[int, int] = {}  # by the number of the period
        self.refused = 0
        self.url = ""

    @property
    def passed(self) -> int:
        return sum(self._passed.values())

    @property
    def busiest_period(self) -> int:
        return max(self._passed.values())

    @contextmanager
    def running(self) -> Iterator[LimitedApi]:
        """Run the proxy in a thread."""
        loop, is_up = asyncio.new_event_loop(), threading.Event()
        serving = loop.create_task(self._serve(is_up))

        def run() -> None:
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(serving)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            assert is_up.wait(10)
            yield self
        finally:
            loop.call_soon_threadsafe(serving.cancel)
            thread.join()
            loop.close()

    async def _serve(self, is_up: threading.Event) -> None:
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{self._to.path}"
        is_up.set()
        try:
            await server.serve_forever()
        finally:
            connections = asyncio.all_tasks() - {asyncio.current_task()}
            for each in connections:
                each.cancel()
            await asyncio.gather(*connections, return_exceptions=True)

    async def _handle(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            server, requests = await asyncio.open_connection(self._to.hostname, self._to.port)
            back = asyncio.ensure_future(self._pass_on(server, answers))
            try:
                while True:
                    head = await client.readuntil(b"\r\n\r\n")
                    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
                    body = await client.readexactly(int(length[1]) if length else 0)
                    if wait := self._wait():
                        answers.write(
                            b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: %d\r\nContent-Length: 2\r\n"
                            b"Content-Type: application/json\r\n\r\n{}" % wait
                        )
                        continue
                    requests.write(head + body)
                    if re.search(rb"\r\nupgrade: *websocket", head, re.IGNORECASE):
                        await self._pass_on(client, requests)
                        return
            finally:
                back.cancel()
                requests.close()
                answers.close()

    def _wait(self) -> int:
        """Count a request. Return the seconds after which to send it again, or 0 if it may pass."""
        period, since = divmod(time.monotonic() - self._started, self._period)
        if self._passed.get(int(period), 0) < self._most:
            self._passed[int(period)] = self._passed.get(int(period), 0) + 1
            return 0
        self.refused += 1
        return int(self._period - since) + 1

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(BLOCK):
                writer.write(data)
                await writer.drain()
        writer.close()

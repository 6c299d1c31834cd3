"""A line to a server on loopback that can be cut and mended, as if the server stopped and started again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.ports import free_port

HOST = "127.0.0.1"
PIECE = 65536  # bytes


class Line:
    """Leads from `port` to a server's port. Cut, it refuses who calls, and breaks off who was talking."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.StreamWriter] = set()

    @property
    def api_url(self) -> str:
        """Of a Prefect server at the other end."""
        return f"http://{HOST}:{self.port}/api"

    @contextmanager
    def leading(self) -> Iterator[None]:
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        self.mend()
        try:
            yield
        finally:
            self.cut()
            # A call that was just taken has time to see that the line is cut, and to end.
            self._loop.call_soon_threadsafe(self._loop.call_later, 0.2, self._loop.stop)
            thread.join()
            self._loop.close()

    def cut(self) -> None:
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result()

    def mend(self) -> None:
        asyncio.run_coroutine_threadsafe(self._mend(), self._loop).result()

    async def _mend(self) -> None:
        self._server = await asyncio.start_server(self._lead, HOST, self.port)

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._talks:
            writer.transport.abort()
        while self._talks:  # noqa: ASYNC110  # each goes by itself
            await asyncio.sleep(0.01)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        self._talks |= ends
        try:
            if self._server is not None:  # it may have been cut since the call was taken
                there_reader, there_writer = await asyncio.open_connection(HOST, self._target)
                ends |= {there_writer}
                self._talks |= ends
                await asyncio.gather(_pass_on(reader, there_writer), _pass_on(there_reader, writer))
        finally:
            for end in ends:
                end.transport.abort()
            self._talks -= ends


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()

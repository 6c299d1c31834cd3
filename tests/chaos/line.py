"""A proxy to a server on loopback that can be cut and restored, as if the server stopped and restarted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.ports import free_port

HOST = "127.0.0.1"
BUFFER_SIZE = 65536  # bytes


class Line:
    """Forwards `port` to a server's port. A cut line refuses new connections and aborts the open ones."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def api_url(self) -> str:
        """The API URL of a Prefect server at the other end."""
        return f"http://{HOST}:{self.port}/api"

    @contextmanager
    def open(self) -> Iterator[None]:
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        self.restore()
        try:
            yield
        finally:
            self.cut()
            # A connection that was just accepted has time to notice that the line is cut, and to end.
            self._loop.call_soon_threadsafe(self._loop.call_later, 0.2, self._loop.stop)
            thread.join()
            self._loop.close()

    def cut(self) -> None:
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result()

    def restore(self) -> None:
        asyncio.run_coroutine_threadsafe(self._restore(), self._loop).result()

    async def _restore(self) -> None:
        self._server = await asyncio.start_server(self._forward, HOST, self.port)

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        while self._writers:  # noqa: ASYNC110  # each removes itself
            await asyncio.sleep(0.01)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        self._writers |= ends
        try:
            if self._server is not None:  # the line may have been cut since the connection was accepted
                server_reader, server_writer = await asyncio.open_connection(HOST, self._target)
                ends |= {server_writer}
                self._writers |= ends
                await asyncio.gather(_copy(reader, server_writer), _copy(server_reader, writer))
        finally:
            for end in ends:
                end.transport.abort()
            self._writers -= ends


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(BUFFER_SIZE):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()

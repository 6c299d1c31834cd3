"""A network link to a server, which can be cut: nothing passes until it is back, and no connection closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

CHUNK = 2**16  # bytes


class Link:
    """A TCP port on loopback whose connections lead to a Unix socket."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._is_up = asyncio.Event()
        self._is_up.set()
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def to(cls, socket: str) -> AsyncIterator[Self]:
        """Open a link to a Unix socket."""
        link = cls(socket)
        async with await asyncio.start_server(link._connect, "127.0.0.1", 0) as server:
            link.port = server.sockets[0].getsockname()[1]
            yield link

    def cut(self) -> None:
        self._is_up.clear()

    def restore(self) -> None:
        self._is_up.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._is_up.wait()
        there, back = await asyncio.open_unix_connection(self._socket)
        with suppress(ConnectionError):
            await asyncio.gather(self._pass_on(reader, back), self._pass_on(there, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK):
                await self._is_up.wait()
                writer.write(data)
                await writer.drain()
        finally:
            await self._is_up.wait()
            writer.close()

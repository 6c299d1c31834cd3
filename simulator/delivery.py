"""ASGI input and output: read a call, and send a reply whole, cut, slowly, or not at all."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from simulator.dialect import Call, Reply
from simulator.faults import Fault
from simulator.traffic import Delays

DRIPS = 10
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Delivery:
    """A reply, and the fault that affects its delivery."""

    reply: Reply
    fault: Fault | None = None


async def read_call(scope: Scope, receive: Receive) -> Call:
    """Read a request with its whole body."""
    request = Request(scope, receive)
    body = b"" if request.method == "GET" else await request.body()
    return Call(request.method, scope["path"], request.query_params, request.headers, body)


async def deliver(delivery: Delivery, scope: Scope, send: Send, delays: Delays) -> None:
    """Send a reply as its fault dictates."""
    match delivery.fault:
        case Fault(kind="reset"):
            await _send_half(delivery.reply, scope, send)
        case Fault(kind="hangup"):
            await _hang_up(scope)
        case Fault(kind="blackhole"):
            await scope["state"]["lost"].wait()
        case Fault(kind="drip", seconds=seconds):
            await _send_slowly(delivery.reply, seconds, send, delays)
        case _:
            await send_whole(delivery.reply, send)


async def send_whole(reply: Reply, send: Send) -> None:
    await send(_head(reply))
    await send(_body_message(reply.body, more=False))


async def _send_slowly(reply: Reply, seconds: float, send: Send, delays: Delays) -> None:
    await send(_head(reply))
    size = max(1, -(-len(reply.body) // DRIPS))
    for start in range(0, len(reply.body), size):
        await delays.wait(seconds / DRIPS)
        await send(_body_message(reply.body[start : start + size], more=True))
    await send(_body_message(b"", more=False))


async def _send_half(reply: Reply, scope: Scope, send: Send) -> None:
    """Send half the body, then reset the connection like a crashing server."""
    await send(_head(reply))
    await send(_body_message(reply.body[: len(reply.body) // 2], more=True))
    transport = scope["state"]["transport"]
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()
    await scope["state"]["lost"].wait()


async def _hang_up(scope: Scope) -> None:
    """Close without an answer, like a server that times out an idle connection."""
    scope["state"]["transport"].abort()
    await scope["state"]["lost"].wait()


def _head(reply: Reply) -> dict[str, Any]:
    headers = {
        **reply.headers,
        "Content-Type": reply.media_type,
        "Content-Length": str(len(reply.body)),
    }
    return {
        "type": "http.response.start",
        "status": reply.status,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }


def _body_message(body: bytes, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}

"""The simulated WMS as an ASGI application: who may ask, what for, what is told, and how it goes wrong."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from simulator.dataset import DataSet
from simulator.dialect import BadQuestionError, Call, Question, Reply
from simulator.faults import Fault, FaultBook, spoil
from simulator.items import ITEMS
from simulator.scenario import Scenario
from simulator.stats import Recorder
from simulator.systems.ledger import Ledger
from simulator.systems.system import System
from simulator.traffic import Ceiling, Door, Patience

DRIPS = 10
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Delivery:
    """A reply, and the fault that strikes it on its way."""

    reply: Reply
    fault: Fault | None = None


class Simulator:
    """One scenario being played. Its state is open: rows in `dataset`, requests/s in `ceiling.limit`."""

    def __init__(self, scenario: Scenario, clock: Callable[[], float] = time.monotonic) -> None:
        self.scenario = scenario
        self.dataset = DataSet(scenario)
        self.faults = FaultBook(scenario.faults, scenario.seed)
        self.ceiling = Ceiling(scenario.requests_per_second)
        self.recorder = Recorder(clock)
        self.patience = Patience()
        self._clock = clock
        self._door = Door(scenario.token, scenario.token_header)
        self._ledger = scenario.system and scenario.system.open_ledger(self.dataset.rows())
        self._controls: dict[tuple[str, str], Callable[[], Any]] = {
            ("GET", "/stats"): lambda: asdict(self.recorder.report()),
            ("POST", "/_control/clear"): self.faults.clear,
            ("POST", "/_control/reset-stats"): self.recorder.reset,
            ("POST", "/_control/halve-ceiling"): self.ceiling.halve,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if control := self._controls.get((scope["method"], scope["path"])):
            await _send_whole(Reply(200, json.dumps(control()).encode()), send)
            return
        with self.recorder.request(scope["client"]):
            delivery = await self._answer(await _read_call(scope, receive))
            self.recorder.answered(delivery.reply.status)
            await self._deliver(delivery, scope, send)

    async def _answer(self, call: Call) -> Delivery:
        if self.scenario.system and self._ledger:
            await self.patience.wait(self.scenario.latency)
            return Delivery(self._answer_as(self.scenario.system, self._ledger, call))
        refusal = self._refuse(call)
        if refusal:
            return Delivery(refusal)
        await self.patience.wait(self.scenario.latency)
        try:
            question = self.scenario.dialect.asking.read(call)
        except BadQuestionError as error:
            return Delivery(self.scenario.dialect.telling.refusal(400, str(error), {}))
        if call.path == ITEMS:
            question = replace(question, warehouse=ITEMS, start=None, end=None)
        if fault := self.faults.strike(question):
            return await self._fail(question, fault)
        return Delivery(self._tell(question, is_whole=True))

    def _answer_as(self, system: System, ledger: Ledger, call: Call) -> Reply:
        if wait := self.ceiling.admit(self._clock()):
            return system.throttled(wait)
        return system.respond(call, ledger, self.scenario.token)

    def _refuse(self, call: Call) -> Reply | None:
        dialect, refuse = self.scenario.dialect, self.scenario.dialect.telling.refusal
        if call.path not in ((dialect.path, ITEMS) if self.scenario.items else (dialect.path,)):
            return refuse(404, f"no such path: {call.path}", {})
        if call.method != dialect.method:
            return refuse(405, f"use {dialect.method}", {"Allow": dialect.method})
        if not self._door.lets_in(call):
            return refuse(401, "a valid token is needed", {"WWW-Authenticate": "Bearer"})
        if wait := self.ceiling.admit(self._clock()):
            return refuse(429, "too many requests", {self.scenario.retry_after_header: str(wait)})
        return None

    def _tell(self, question: Question, is_whole: bool) -> Reply:
        page = self.dataset.page(question)
        if is_whole:
            limit = self.scenario.page_size if question.limit is None else question.limit
            self.recorder.served(question.warehouse, question.offset, limit, len(page.bodies))
        return self.scenario.dialect.telling.page(page)

    async def _fail(self, question: Question, fault: Fault) -> Delivery:
        self.recorder.struck(fault.kind)
        if fault.kind == "slow":
            await self.patience.wait(fault.seconds)
        is_whole = fault.kind in ("slow", "drip")
        reply = spoil(fault, lambda: self._tell(question, is_whole), self.scenario.retry_after_header)
        return Delivery(reply, fault)

    async def _deliver(self, delivery: Delivery, scope: Scope, send: Send) -> None:
        match delivery.fault:
            case Fault(kind="reset"):
                await _send_half(delivery.reply, scope, send)
            case Fault(kind="drip", seconds=seconds):
                await self._send_slowly(delivery.reply, seconds, send)
            case _:
                await _send_whole(delivery.reply, send)

    async def _send_slowly(self, reply: Reply, seconds: float, send: Send) -> None:
        await send(_head(reply))
        size = max(1, -(-len(reply.body) // DRIPS))
        for start in range(0, len(reply.body), size):
            await self.patience.wait(seconds / DRIPS)
            await send(_piece(reply.body[start : start + size], more=True))
        await send(_piece(b"", more=False))


async def _read_call(scope: Scope, receive: Receive) -> Call:
    request = Request(scope, receive)
    body = b"" if request.method == "GET" else await request.body()
    return Call(request.method, scope["path"], request.query_params, request.headers, body)


async def _send_whole(reply: Reply, send: Send) -> None:
    await send(_head(reply))
    await send(_piece(reply.body, more=False))


async def _send_half(reply: Reply, scope: Scope, send: Send) -> None:
    """Send half the body, then reset the connection as a server does that dies."""
    await send(_head(reply))
    await send(_piece(reply.body[: len(reply.body) // 2], more=True))
    transport = scope["state"]["transport"]
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()
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


def _piece(body: bytes, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}

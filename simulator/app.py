"""The simulated WMS as an ASGI application: access control, queries, answers and faults."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from starlette.types import Receive, Scope, Send

from simulator.dataset import DataSet
from simulator.delivery import Delivery, deliver, read_call, send_whole
from simulator.dialect import BadQuestionError, Call, Question, Reply
from simulator.faults import Fault, FaultBook, spoil
from simulator.items import ITEMS, WAREHOUSES
from simulator.scenario import Scenario
from simulator.stats import Recorder
from simulator.systems.ledger import Ledger
from simulator.systems.system import System
from simulator.traffic import Ceiling, Delays, Door


class Simulator:
    """A running scenario. Its state is public: rows in `dataset`, requests/s in `ceiling.limit`."""

    def __init__(self, scenario: Scenario, clock: Callable[[], float] = time.monotonic) -> None:
        self.scenario = scenario
        self.dataset = DataSet(scenario)
        self.faults = FaultBook(scenario.faults, scenario.seed)
        self.ceiling = Ceiling(scenario.requests_per_second)
        self.recorder = Recorder(clock)
        self.delays = Delays()
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
            await send_whole(Reply(200, json.dumps(control()).encode()), send)
            return
        with self.recorder.request(scope["client"]):
            delivery = await self._answer(await read_call(scope, receive))
            self.recorder.answered(delivery.reply.status)
            await deliver(delivery, scope, send, self.delays)

    async def _answer(self, call: Call) -> Delivery:
        if self.scenario.system and self._ledger:
            await self.delays.wait(self.scenario.latency)
            return Delivery(self._answer_as_system(self.scenario.system, self._ledger, call))
        refusal = self._refuse(call)
        if refusal:
            return Delivery(refusal)
        await self.delays.wait(self.scenario.latency)
        try:
            question = self.scenario.dialect.query.read(call)
        except BadQuestionError as error:
            return Delivery(self.scenario.dialect.answer.refusal(400, str(error), {}))
        if call.path in (ITEMS, WAREHOUSES):
            question = replace(question, warehouse=call.path, start=None, end=None)
        if fault := self.faults.strike(question):
            return await self._fail(question, fault)
        return Delivery(self._page(question, is_whole=True))

    def _answer_as_system(self, system: System, ledger: Ledger, call: Call) -> Reply:
        if wait := self.ceiling.admit(self._clock()):
            return system.throttled(wait)
        return system.respond(call, ledger, self.scenario.token)

    def _refuse(self, call: Call) -> Reply | None:
        dialect, refuse = self.scenario.dialect, self.scenario.dialect.answer.refusal
        if call.path not in (dialect.path, WAREHOUSES, *((ITEMS,) if self.scenario.items else ())):
            return refuse(404, f"no such path: {call.path}", {})
        if call.method != dialect.method:
            return refuse(405, f"use {dialect.method}", {"Allow": dialect.method})
        if not self._door.lets_in(call):
            return refuse(401, "a valid token is required", {"WWW-Authenticate": "Bearer"})
        if wait := self.ceiling.admit(self._clock()):
            return refuse(429, "too many requests", {self.scenario.retry_after_header: str(wait)})
        return None

    def _page(self, question: Question, is_whole: bool) -> Reply:
        page = self.dataset.page(question)
        if is_whole:
            limit = self.scenario.page_size if question.limit is None else question.limit
            self.recorder.served(question, limit, len(page.bodies))
        return self.scenario.dialect.answer.page(page)

    async def _fail(self, question: Question, fault: Fault) -> Delivery:
        self.recorder.struck(fault.kind)
        if fault.kind == "slow":
            await self.delays.wait(fault.seconds)
        is_whole = fault.kind in ("slow", "drip")
        reply = spoil(fault, lambda: self._page(question, is_whole), self.scenario.retry_after_header)
        return Delivery(reply, fault)

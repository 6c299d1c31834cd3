"""The simulated slotting engine: it takes each key once, answers of each record, and counts what it took."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from simulator.delivery import Delivery, deliver, read_call, send_whole
from simulator.dialect import BadQuestionError, Call, Question, Reply
from simulator.faults import Fault, FaultBook, spoil
from simulator.stats import Recorder
from simulator.traffic import Ceiling, Door, Patience

# These strike when the batch has been taken, so that only the answer is lost; the others before.
AFTERWARDS = {"502", "cut", "reset", "html", "slow", "drip"}


@dataclass(frozen=True)
class EngineScenario:
    """How a simulated slotting engine behaves. The same value, the same rejections and faults.

    A share of `reject_ratio` of the records is rejected, chosen by id and `seed`. `token` is asked for as a
    bearer token; more than `requests_per_second` in the last second are answered with 429 and the whole
    seconds to wait; from taking a batch to answering it `latency` seconds pass, in which the same key gets a
    409. `faults` strike by the number of the request's key, in the order in which keys were first seen.
    """

    seed: int = 1
    token: str | None = None
    reject_ratio: float = 0.0
    requests_per_second: int | None = None
    latency: float = 0.0
    faults: tuple[Fault, ...] = ()
    idempotency_header: str = "Idempotency-Key"


@dataclass
class Shelf:
    """What was told of one kind of record: how often each id was accepted and rejected, and its last form."""

    accepted: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    current: dict[str, Any] = field(default_factory=dict)

    def count(self) -> dict[str, int]:
        """Records accepted, those of them that were accepted more than once, and records rejected."""
        times = self.accepted.copy()
        return {
            "accepted": len(times),
            "more_than_once": sum(count > 1 for count in times.values()),
            "rejected": len(self.rejected),
        }


@dataclass
class Taken:
    """What was sent under a key, and the answer, None while it is being worked on."""

    content: tuple[str, bytes]
    reply: Reply | None = None


class SlottingEngine:
    """One scenario being played. Its state is open: `movements`, `classes`, and `replayed` answers."""

    def __init__(self, scenario: EngineScenario, clock: Callable[[], float] = time.monotonic) -> None:
        self.scenario = scenario
        self.movements, self.classes = Shelf(), Shelf()
        self.replayed = 0
        self.faults = FaultBook(scenario.faults, scenario.seed)
        self.ceiling = Ceiling(scenario.requests_per_second)
        self.recorder = Recorder(clock)
        self.patience = Patience()
        self._clock = clock
        self._door = Door(scenario.token, None)
        self._shelves = {"/movements": self.movements, "/classes": self.classes}
        self._keys: dict[str, int] = {}
        self._taken: dict[str, Taken] = {}
        self._controls: dict[tuple[str, str], Callable[[], Any]] = {
            ("GET", "/stats"): self.report,
            ("GET", "/accepted"): lambda: {path: shelf.accepted for path, shelf in self._shelves.items()},
            ("POST", "/_control/clear"): self.faults.clear,
            ("POST", "/_control/reset-stats"): self.recorder.reset,
        }

    def report(self) -> dict[str, Any]:
        """The traffic, and what became of the records."""
        counts = {path.strip("/"): shelf.count() for path, shelf in self._shelves.items()}
        return asdict(self.recorder.report()) | counts | {"replayed": self.replayed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if control := self._controls.get((scope["method"], scope["path"])):
            await send_whole(Reply(200, json.dumps(control()).encode()), send)
            return
        with self.recorder.request(scope["client"]):
            delivery = await self._answer(await read_call(scope, receive))
            self.recorder.answered(delivery.reply.status)
            await deliver(delivery, scope, send, self.patience)

    async def _answer(self, call: Call) -> Delivery:
        if refusal := self._refuse(call):
            return Delivery(refusal)
        try:
            records = _read_records(call.body)
        except BadQuestionError as error:
            return Delivery(_refusal(400, str(error)))
        key = call.headers[self.scenario.idempotency_header.lower()]
        number = self._keys.setdefault(key, len(self._keys))
        if fault := self.faults.strike(Question(number, None)):
            return await self._fail(key, call, records, fault)
        return Delivery(await self._take(key, call, records))

    def _refuse(self, call: Call) -> Reply | None:
        if call.path not in self._shelves:
            return _refusal(404, f"no such path: {call.path}")
        if call.method != "POST":
            return _refusal(405, "use POST")
        if not self._door.lets_in(call):
            return _refusal(401, "a valid token is needed")
        if wait := self.ceiling.admit(self._clock()):
            return Reply(429, b'{"detail": "too many requests"}', {"Retry-After": str(wait)})
        if self.scenario.idempotency_header.lower() not in call.headers:
            return _refusal(400, f"the header {self.scenario.idempotency_header} is needed")
        return None

    async def _fail(self, key: str, call: Call, records: list[Any], fault: Fault) -> Delivery:
        self.recorder.struck(fault.kind)
        reply = Reply(500, b"")
        if fault.kind in AFTERWARDS:
            reply = await self._take(key, call, records)
        if fault.kind == "slow":
            await self.patience.wait(fault.seconds)
        return Delivery(spoil(fault, lambda: reply, "Retry-After"), fault)

    async def _take(self, key: str, call: Call, records: list[Any]) -> Reply:
        """The answer to a batch: as it was the first time, where its key is known."""
        content = (call.path, call.body)
        taken = self._taken.get(key)
        if taken and taken.content != content:
            return _refusal(422, f"the key {key} was sent with other content before")
        if taken and taken.reply is None:
            return _refusal(409, f"the key {key} is being worked on")
        if taken and taken.reply:
            self.replayed += 1
            return taken.reply
        self._taken[key] = taken = Taken(content)
        reply = self._sort(self._shelves[call.path], records)
        await self.patience.wait(self.scenario.latency)
        taken.reply = reply
        return reply

    def _sort(self, shelf: Shelf, records: list[Any]) -> Reply:
        accepted, rejected = [], []
        for record in records:
            if self._draw(record["id"]) < self.scenario.reject_ratio:
                shelf.rejected[record["id"]] += 1
                rejected.append({"id": record["id"], "reason": f"unknown SKU {record.get('sku_id')}"})
            else:
                shelf.accepted[record["id"]] += 1
                shelf.current[record["id"]] = record
                accepted.append(record["id"])
        return Reply(207, json.dumps({"accepted": accepted, "rejected": rejected}).encode())

    def _draw(self, record_id: str) -> float:
        return random.Random(f"{self.scenario.seed}/{record_id}").random()


def _read_records(body: bytes) -> list[Any]:
    try:
        records = json.loads(body)["records"]
        if all(isinstance(record["id"], str) for record in records):
            return list(records)
    except (ValueError, LookupError, TypeError):
        pass
    raise BadQuestionError("a JSON object is needed with a list `records`, each with an id")


def _refusal(status: int, detail: str) -> Reply:
    return Reply(status, json.dumps({"detail": detail}).encode())

"""The simulated slotting engine: accepts each key once, answers for each record, and counts them."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from starlette.types import Receive, Scope, Send

from simulator.delivery import Delivery, deliver, read_call, send_whole
from simulator.dialect import BadQuestionError, Call, Question, Reply
from simulator.faults import Fault, FaultBook, spoil
from simulator.stats import Recorder
from simulator.traffic import Ceiling, Delays, Door

# These occur after the batch was accepted, so that only the answer is lost; the others before.
AFTER_ACCEPTING = {"502", "cut", "reset", "html", "slow", "drip"}


@dataclass(frozen=True)
class EngineScenario:
    """The behavior of a simulated slotting engine. The same value yields the same rejections and faults.

    A share of `reject_ratio` of the records is rejected, chosen by id and `seed`. `token` is required as a
    bearer token; more than `requests_per_second` in the last second are answered with 429 and the whole
    seconds to wait; a batch takes `latency` seconds, during which the same key gets a 409. `faults` apply by
    the number of the request's key, in the order in which keys were first seen.
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
    """The records of one kind: how often each id was accepted, rejected and removed, and those held now.

    `runs` names the run that each held record was last sent by, if it is a movement.
    """

    accepted: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    removed: Counter[str] = field(default_factory=Counter)
    current: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, Any] = field(default_factory=dict)

    def count(self) -> dict[str, int]:
        """Count the records accepted, accepted more than once, and rejected."""
        times = self.accepted.copy()
        return {
            "accepted": len(times),
            "more_than_once": sum(count > 1 for count in times.values()),
            "rejected": len(self.rejected),
        }

    def remove(self, removed: Any) -> None:
        """Remove a record, unless it has another place or time by now."""
        record = self.current.get(removed["id"])
        if record and all(record[name] == removed[name] for name in ("warehouse_id", "timestamp_utc")):
            self._drop(removed["id"])

    def replace(self, body: Any) -> None:
        """Remove all records of the replaced runs in the warehouse and time ranges of a body."""
        for id, record in list(self.current.items()):
            if self.runs[id] in body["replaces"] and record["warehouse_id"] == body["warehouse_id"]:
                at = _instant(record["timestamp_utc"])
                if any(_instant(each["start"]) <= at < _instant(each["end"]) for each in body["ranges"]):
                    self._drop(id)

    def _drop(self, id: str) -> None:
        self.removed[id] += 1
        del self.current[id], self.runs[id]


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@dataclass
class KeyState:
    """The content sent under a key, and its answer, or None while in progress."""

    content: tuple[str, bytes]
    reply: Reply | None = None


class SlottingEngine:
    """A running scenario. Its state is public: `movements`, `classes`, and `replayed` answers."""

    def __init__(self, scenario: EngineScenario, clock: Callable[[], float] = time.monotonic) -> None:
        self.scenario = scenario
        self.movements, self.classes = Shelf(), Shelf()
        self.replayed = 0
        self.faults = FaultBook(scenario.faults, scenario.seed)
        self.ceiling = Ceiling(scenario.requests_per_second)
        self.recorder = Recorder(clock)
        self.delays = Delays()
        self._clock = clock
        self._door = Door(scenario.token, None)
        self._shelves = {"/movements": self.movements, "/classes": self.classes}
        self._key_numbers: dict[str, int] = {}
        self._states: dict[str, KeyState] = {}
        self._controls: dict[tuple[str, str], Callable[[], Any]] = {
            ("GET", "/stats"): self.report,
            ("GET", "/accepted"): lambda: {path: shelf.accepted for path, shelf in self._shelves.items()},
            ("POST", "/_control/clear"): self.faults.clear,
            ("POST", "/_control/reset-stats"): self.recorder.reset,
        }

    def report(self) -> dict[str, Any]:
        """Return the traffic, and the counts of records."""
        counts = {path.strip("/"): shelf.count() for path, shelf in self._shelves.items()}
        return asdict(self.recorder.report()) | counts | {"replayed": self.replayed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if control := self._controls.get((scope["method"], scope["path"])):
            await send_whole(Reply(200, json.dumps(control()).encode()), send)
            return
        with self.recorder.request(scope["client"]):
            delivery = await self._answer(await read_call(scope, receive))
            self.recorder.answered(delivery.reply.status)
            await deliver(delivery, scope, send, self.delays)

    async def _answer(self, call: Call) -> Delivery:
        if refusal := self._refuse(call):
            return Delivery(refusal)
        try:
            body = _read_body(call.body)
        except BadQuestionError as error:
            return Delivery(_refusal(400, str(error)))
        key = call.headers[self.scenario.idempotency_header.lower()]
        number = self._key_numbers.setdefault(key, len(self._key_numbers))
        if fault := self.faults.strike(Question(number, None)):
            return await self._fail(key, call, body, fault)
        return Delivery(await self._accept(key, call, body))

    def _refuse(self, call: Call) -> Reply | None:
        if call.path not in self._shelves:
            return _refusal(404, f"no such path: {call.path}")
        if call.method != "POST":
            return _refusal(405, "use POST")
        if not self._door.lets_in(call):
            return _refusal(401, "a valid token is required")
        if wait := self.ceiling.admit(self._clock()):
            return Reply(429, b'{"detail": "too many requests"}', {"Retry-After": str(wait)})
        if self.scenario.idempotency_header.lower() not in call.headers:
            return _refusal(400, f"the header {self.scenario.idempotency_header} is required")
        return None

    async def _fail(self, key: str, call: Call, body: Any, fault: Fault) -> Delivery:
        self.recorder.struck(fault.kind)
        reply = Reply(500, b"")
        if fault.kind in AFTER_ACCEPTING:
            reply = await self._accept(key, call, body)
        if fault.kind == "slow":
            await self.delays.wait(fault.seconds)
        return Delivery(spoil(fault, lambda: reply, "Retry-After"), fault)

    async def _accept(self, key: str, call: Call, body: Any) -> Reply:
        """Answer a batch; for a known key, repeat the first answer."""
        content = (call.path, call.body)
        state = self._states.get(key)
        if state and state.content != content:
            return _refusal(422, f"the key {key} was used with other content before")
        if state and state.reply is None:
            return _refusal(409, f"the key {key} is in progress")
        if state and state.reply:
            self.replayed += 1
            return state.reply
        self._states[key] = state = KeyState(content)
        reply = self._sort(self._shelves[call.path], body)
        await self.delays.wait(self.scenario.latency)
        state.reply = reply
        return reply

    def _sort(self, shelf: Shelf, body: Any) -> Reply:
        accepted, rejected = [], []
        if replaced := body.get("replaces"):
            shelf.replace(body)
            accepted += replaced
        for removed in body.get("removed", ()):
            shelf.remove(removed)
            accepted.append(removed["id"])
        for record in body["records"]:
            if self._draw(record["id"]) < self.scenario.reject_ratio:
                shelf.rejected[record["id"]] += 1
                rejected.append({"id": record["id"], "reason": f"unknown SKU {record.get('sku_id')}"})
            else:
                shelf.accepted[record["id"]] += 1
                shelf.current[record["id"]] = record
                shelf.runs[record["id"]] = body.get("run")
                accepted.append(record["id"])
        return Reply(207, json.dumps({"accepted": accepted, "rejected": rejected}).encode())

    def _draw(self, record_id: str) -> float:
        return random.Random(f"{self.scenario.seed}/{record_id}").random()


def _read_body(body: bytes) -> Any:
    try:
        content = json.loads(body)
        if all(isinstance(each["id"], str) for each in [*content["records"], *content.get("removed", ())]):
            return content
    except (ValueError, LookupError, TypeError):
        pass
    raise BadQuestionError("the body must be a JSON object with a list `records`, each with an id")


def _refusal(status: int, detail: str) -> Reply:
    return Reply(status, json.dumps({"detail": detail}).encode())

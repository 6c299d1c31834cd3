"""A WMS with the habits of real ones: SKUs in lower case, packages, signed quantities, late postings."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.types import Receive, Scope, Send

from simulator.delivery import Delivery, deliver, read_call, send_whole
from simulator.dialect import Call, Reply
from simulator.faults import FaultBook
from simulator.stats import Recorder
from simulator.traffic import Delays

SITE = "BER1"
DAY = datetime(2026, 3, 2, tzinfo=UTC)
PATH = "/api/v1/stock-moves"
UNITS = {"EA": 1, "CS": 12}  # units of each package
TYPES = {"PICK": -1, "RCV": 1, "ADJ": 1}  # and the sign of their quantities
LATE = 25  # of the moves below, the number that is posted late, corrected and deleted
CORRECTED, DELETED = 5, 3


@dataclass(frozen=True)
class Move:
    """One stock move as a user booked it. `quantity` counts packages; what leaves is negative."""

    id: int
    sku: str
    type: str
    quantity: int
    package: str
    bin: str
    order: str | None
    lot: str
    at: datetime

    @property
    def units(self) -> int:
        """The single units that moved."""
        return abs(self.quantity) * UNITS[self.package]

    @property
    def body(self) -> dict[str, Any]:
        """The record in an answer."""
        return {
            "id": self.id,
            "site": SITE,
            "item": {"code": self.sku, "name": f"Article {self.sku.strip()}"},
            "move": {"type": self.type, "qty": self.quantity, "uom": self.package},
            "bin": self.bin,
            "order": {"number": self.order} if self.order else None,
            "lot": self.lot,
            "booked_at": self.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


@dataclass
class Depot:
    """One day of moves at one site, and the late postings that `POST /_control/post-late` makes visible.

    `moves` are those that the API shows now.
    """

    seed: int = 1
    count: int = 2000
    token: str | None = None
    moves: list[Move] = field(default_factory=list)
    recorder: Recorder = field(default_factory=lambda: Recorder(time.monotonic))
    faults: FaultBook = field(default_factory=lambda: FaultBook((), 1))
    delays: Delays = field(default_factory=Delays)

    def __post_init__(self) -> None:
        self._all = list(_make_moves(random.Random(self.seed), self.count))
        chosen = random.Random(self.seed).sample(self._all, LATE + CORRECTED + DELETED)
        self._late = chosen[:LATE]
        self._corrected = {move.id for move in chosen[LATE : LATE + CORRECTED]}
        self._deleted = {move.id for move in chosen[LATE + CORRECTED :]}
        self.moves = [move for move in self._all if move not in self._late]

    def post_late(self) -> dict[str, int]:
        """Make the late moves visible, correct the quantity of some, and delete some. Return the counts."""
        self.moves = [
            replace(move, quantity=move.quantity * 2) if move.id in self._corrected else move
            for move in self._all
            if move.id not in self._deleted
        ]
        return {"added": LATE, "changed": CORRECTED, "removed": DELETED}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (scope["method"], scope["path"]) == ("POST", "/_control/post-late"):
            await send_whole(_reply(200, self.post_late()), send)
        elif (scope["method"], scope["path"]) == ("GET", "/stats"):
            await send_whole(_reply(200, asdict(self.recorder.report())), send)
        else:
            with self.recorder.request(scope["client"]):
                reply = self._answer(await read_call(scope, receive))
                self.recorder.answered(reply.status)
                await deliver(Delivery(reply), scope, send, self.delays)

    def _answer(self, call: Call) -> Reply:
        if call.path != PATH:
            return _reply(404, {"detail": f"no such path: {call.path}"})
        if self.token and call.headers.get("authorization") != f"Bearer {self.token}":
            return _reply(401, {"detail": "a valid token is required"})
        try:
            start, end = (datetime.fromisoformat(call.params[name]) for name in ("from", "to"))
            offset, limit = (int(call.params[name]) for name in ("offset", "limit"))
        except (KeyError, ValueError) as error:
            return _reply(400, {"detail": f"from, to, offset and limit are required: {error}"})
        found = [move for move in self.moves if start <= move.at < end and call.params.get("site") == SITE]
        page = found[offset : offset + min(limit, 1000)]
        return _reply(200, {"data": [move.body for move in page], "meta": {"total": len(found)}})


def _make_moves(draw: random.Random, count: int) -> Iterator[Move]:
    """Yield moves by time. Some SKUs are in lower case or have spaces around them."""
    skus = [f"{'ab' if draw.random() < 0.3 else 'AB'}-{number}" for number in range(1000, 1060)]
    skus = [f"{sku} " if draw.random() < 0.1 else sku for sku in skus]
    for number, second in enumerate(sorted(draw.randrange(86_400) for _ in range(count))):
        kind = draw.choices([*TYPES], weights=[90, 8, 2])[0]
        quantity = draw.randint(1, 12) * (draw.choice((1, -1)) if kind == "ADJ" else TYPES[kind])
        yield Move(
            id=500_000 + number,
            sku=draw.choice(skus),
            type=kind,
            quantity=quantity,
            package=draw.choices([*UNITS], weights=[85, 15])[0],
            bin=f"{draw.choice('ABCD')}-{draw.randint(1, 40):02}-{draw.randint(1, 5)}",
            order=f"SO-{draw.randint(70_000, 70_400)}" if kind == "PICK" else None,
            lot=f"L{draw.randint(100, 140)}",
            at=DAY + timedelta(seconds=second),
        )


def _reply(status: int, content: Any) -> Reply:
    return Reply(status, json.dumps(content).encode())

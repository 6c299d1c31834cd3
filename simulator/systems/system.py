"""The base of simulated systems: what an API accepts, and how it returns lines of its stock ledger."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from simulator.dialect import BadQuestionError, Call, Reply
from simulator.row import Row
from simulator.systems.doors import BEARER, Door
from simulator.systems.ledger import Columns, Ledger, Line, mixed

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


class NoSuchPathError(Exception):
    """The system has nothing at this path, or not by this method."""


@dataclass(frozen=True)
class System(ABC):
    """One system. It returns times to its `grain`, in its `zone`; at most `cap` lines a page, in silence.

    `others` are the kinds of lines among the movements. Without a requested order, the newest come first. It
    shares no code with the readers that are tested with it.
    """

    zone: str = "UTC"
    cap: int | None = None
    others: ClassVar[tuple[str, ...]] = ()
    grain: ClassVar[timedelta] = SECOND
    newest_first: ClassVar[bool] = True
    names_warehouses: ClassVar[bool] = True
    door: ClassVar[Door] = BEARER

    @abstractmethod
    def columns(self, line: Line) -> Columns:
        """Return a line as the system stores it, by the names that a query uses."""

    @abstractmethod
    def answer(self, call: Call, ledger: Ledger) -> Reply:
        """Return the answer to an admitted call. Raises NoSuchPathError and BadQuestionError."""

    def open_ledger(self, rows: Iterable[Row]) -> Ledger:
        """Return a ledger of these movements, with other lines among them.

        Raises ValueError if a row is bad, or if there are several warehouses and the system names none.
        """
        rows = list(rows)
        if bad := next((row for row in rows if row.defect), None):
            raise ValueError(f"a system has valid rows only: {bad.movement_id} has a {bad.defect}")
        if not self.names_warehouses and len({row.warehouse_id for row in rows}) > 1:
            raise ValueError("this system does not name warehouses: give one")
        columns = [self.columns(line) for line in mixed(rows, self.others)]
        return Ledger(columns[::-1] if self.newest_first else columns)

    def respond(self, call: Call, ledger: Ledger, secret: str | None) -> Reply:
        """Return the answer to any call."""
        if secret is not None and not self.door.lets_in(call, secret):
            return self.refusal(401, "a valid secret is needed")
        try:
            return self.answer(call, ledger)
        except NoSuchPathError:
            return self.refusal(404, f"no such path: {call.method} {call.path}")
        except BadQuestionError as error:
            return self.refusal(400, str(error))
        except (LookupError, TypeError, ValueError) as error:
            return self.refusal(400, f"not understood: {error!r}")

    def throttled(self, seconds: int) -> Reply:
        """Return the answer to a call over the limit."""
        return self.refusal(429, "too many requests", {"Retry-After": str(seconds)})

    def refusal(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Reply:
        """Return a refusal in the system's format."""
        return as_json({"detail": detail}, status, headers)

    def sent_at(self, at: datetime) -> datetime:
        """Return the instant of a line as a reader sees it: its wall time, cut off at the grain."""
        return self.wall(at).astimezone(at.tzinfo)

    def wall(self, at: datetime) -> datetime:
        """Return the time on the system's clock, cut off at the grain."""
        wall = at.astimezone(ZoneInfo(self.zone))
        if self.grain >= DAY:
            return wall.replace(hour=0, minute=0, second=0, microsecond=0)
        return wall - timedelta(microseconds=wall.microsecond, seconds=wall.second) % self.grain

    def capped(self, limit: int | None) -> int | None:
        """Return the number of lines that a page may hold of those requested."""
        return limit if self.cap is None or (limit is not None and limit <= self.cap) else self.cap


def as_json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Return an answer in JSON."""
    return Reply(status, json.dumps(body, separators=(",", ":")).encode(), headers or {})


def number(call: Call, name: str, default: int | None) -> int | None:
    """Return a whole number of the query. Raises BadQuestionError."""
    value = call.params.get(name)
    if value is None:
        return default
    if not value.isdecimal():
        raise BadQuestionError(f"{name}: a whole number is needed, not {value!r}")
    return int(value)


def named(call: Call, *names: str) -> None:
    """Raise BadQuestionError if the call has other parameters: a misspelt one must not pass unnoticed."""
    if unknown := call.params.keys() - set(names):
        raise BadQuestionError(f"unknown parameters: {', '.join(sorted(unknown))}")


def body_of(call: Call) -> Any:
    """Return the call's JSON. Raises BadQuestionError."""
    try:
        return json.loads(call.body)
    except ValueError as error:
        raise BadQuestionError("a body in JSON is needed") from error


def moment(text: str, pattern: str) -> datetime:
    """Return a wall time. Raises BadQuestionError."""
    try:
        return datetime.strptime(text, pattern)  # noqa: DTZ007  # a wall time has no zone
    except ValueError as error:
        raise BadQuestionError(f"a time written as {pattern} is needed, not {text!r}") from error

"""The faults of page requests: when they occur, and what the answer then looks like."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from simulator.dialect import Question, Reply

HTML = b"<!DOCTYPE html><html><head><title>%b</title></head><body><h1>%b</h1></body></html>\n"
NOTATION = re.compile(
    r"(?P<kind>\w+)(?::(?P<seconds>\d+(?:\.\d+)?))?"
    r"@(?:(?P<warehouse>[^/]+)/)?(?P<place>\*|\d+(?:\.\d+)?)(?:x(?P<times>\d+))?"
)


@dataclass(frozen=True)
class Fault:
    """A fault of page requests.

    It affects requests for exactly `offset` (None: any) of `warehouse` (None: any); of these a share of
    `ratio`, chosen by the scenario's seed; each such offset the first `times` times (None: until cleared).
    `seconds` is the duration of `slow` and `drip`, and the wait of `429` and `503` (0: no wait given).
    """

    kind: str
    offset: int | None = None
    warehouse: str | None = None
    ratio: float = 1.0
    times: int | None = None
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}: expected one of {', '.join(sorted(KINDS))}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a fault in short notation, `KIND[:SECONDS]@[WAREHOUSE/]OFFSET[xTIMES]`.

        Without TIMES it lasts until cleared; `*` is any offset. Raises ValueError.
        """
        match = _match(text, "KIND[:SECONDS]@[WAREHOUSE/]OFFSET[xTIMES], such as 503:2@WH-01/3000x2")
        offset = None if match["place"] == "*" else int(match["place"])
        return cls(match["kind"], offset, match["warehouse"], 1.0, *_extent(match, None))

    @classmethod
    def parse_ratio(cls, text: str) -> Self:
        """Parse a fault of a share of all offsets, `KIND[:SECONDS]@[WAREHOUSE/]RATIO[xTIMES]`.

        Without TIMES it affects each offset once. Raises ValueError.
        """
        match = _match(text, "KIND[:SECONDS]@[WAREHOUSE/]RATIO[xTIMES], such as 500@0.01")
        return cls(match["kind"], None, match["warehouse"], float(match["place"]), *_extent(match, 1))


def _match(text: str, notation: str) -> re.Match[str]:
    if match := NOTATION.fullmatch(text):
        return match
    raise ValueError(f"not a fault: {text!r}: expected {notation}")


def _extent(match: re.Match[str], default_times: int | None) -> tuple[int | None, float]:
    """Return the times and the seconds."""
    return int(match["times"]) if match["times"] else default_times, float(match["seconds"] or 1)


class FaultBook:
    """The remaining faults: it counts how often each has occurred at each place."""

    def __init__(self, faults: Iterable[Fault], seed: int) -> None:
        self._faults = list(faults)
        self._seed = seed
        self._struck: Counter[tuple[int, str | None, int]] = Counter()

    def clear(self) -> None:
        """Fix the faults that last until cleared."""
        self._faults = [
            fault if fault.times is not None else replace(fault, times=0) for fault in self._faults
        ]

    def strike(self, question: Question) -> Fault | None:
        """Return the fault of this request, if any, and count it."""
        for number, fault in enumerate(self._faults):
            place = (number, question.warehouse, question.offset)
            if self._hits(fault, place) and (fault.times is None or self._struck[place] < fault.times):
                self._struck[place] += 1
                return fault
        return None

    def _hits(self, fault: Fault, place: tuple[int, str | None, int]) -> bool:
        number, warehouse, offset = place
        return (
            fault.offset in (None, offset)
            and fault.warehouse in (None, warehouse)
            and (fault.ratio >= 1 or self._draw(number, warehouse, offset) < fault.ratio)
        )

    def _draw(self, *place: object) -> float:
        return random.Random(f"{self._seed}/{place}").random()


Answer = Callable[[], Reply]
Spoil = Callable[[Answer, Fault, str], Reply]


def spoil(fault: Fault, answer: Answer, retry_after_header: str) -> Reply:
    """Return the reply to send instead of the answer; some faults affect only the delivery of the answer."""
    return KINDS[fault.kind](answer, fault, retry_after_header)


def _whole(answer: Answer, fault: Fault, retry_after_header: str) -> Reply:
    return answer()


def _cut(answer: Answer, fault: Fault, retry_after_header: str) -> Reply:
    reply = answer()
    return replace(reply, body=reply.body[: len(reply.body) // 2])


def _error(status: int, detail: bytes) -> Spoil:
    return lambda answer, fault, retry_after_header: Reply(status, b'{"detail": "%b"}' % detail)


def _page(status: int, title: bytes) -> Spoil:
    return lambda answer, fault, retry_after_header: Reply(
        status, HTML % (title, title), media_type="text/html; charset=utf-8"
    )


def _wait(status: int, detail: bytes) -> Spoil:
    return lambda answer, fault, retry_after_header: Reply(
        status,
        b'{"detail": "%b"}' % detail,
        {retry_after_header: f"{fault.seconds:g}"} if fault.seconds else {},
    )


def _redirect(answer: Answer, fault: Fault, retry_after_header: str) -> Reply:
    return Reply(302, b"", {"Location": "/login"})


KINDS: Mapping[str, Spoil] = {
    "500": _error(500, b"internal error"),
    "502": _page(502, b"502 Bad Gateway"),
    "503": _wait(503, b"overloaded"),
    "429": _wait(429, b"too many requests"),
    "401": _error(401, b"token expired"),
    "cut": _cut,
    "reset": _whole,
    "html": _page(200, b"Sign in"),
    "redirect": _redirect,
    "slow": _whole,
    "drip": _whole,
    "hangup": _whole,
    "blackhole": _whole,
}

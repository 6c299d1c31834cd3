"""Statistics of the requests to a simulated WMS and its answers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from simulator.dialect import Question


@dataclass(frozen=True)
class PageCount:
    """How often one page was served whole. `limit` is the requested one, or the default."""

    warehouse: str | None
    offset: int
    limit: int
    count: int


@dataclass(frozen=True)
class Stats:
    """All requests since the start or the last reset, except those to /stats and /_control.

    `windows` counts the pages served whole of each window, START/END in ISO 8601; `records` the rows in pages
    served whole; `throttled` answers with status 429; `faults` the faults that
    occurred, by kind; `max_per_second` the requests in the busiest second, starting at any time;
    `max_in_flight` the concurrent requests; `connections` TCP connections; the two times are seconds on the
    monotonic clock at which the first and last request arrived.
    """

    requests: int
    by_status: dict[str, int]
    pages: list[PageCount]
    windows: dict[str, int]
    records: int
    throttled: int
    faults: dict[str, int]
    max_per_second: int
    max_in_flight: int
    connections: int
    first_request: float | None
    last_request: float | None

    @property
    def read_again(self) -> list[PageCount]:
        """Return the pages that were served whole more than once."""
        return [page for page in self.pages if page.count > 1]


class Recorder:
    """Records each request on arrival, and each answer before its last byte is sent."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Reset everything but the requests in flight."""
        self.arrivals: list[float] = []
        self._by_status: Counter[str] = Counter()
        self._pages: Counter[tuple[str | None, int, int]] = Counter()
        self._windows: Counter[str] = Counter()
        self._records = 0
        self._faults: Counter[str] = Counter()
        self._max_in_flight = self._in_flight
        self._connections: set[object] = set()

    @contextmanager
    def request(self, connection: object) -> Iterator[None]:
        """Record a request in flight. `connection` is the client's end of its TCP connection."""
        self.arrivals.append(self._clock())
        self._connections.add(connection)
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)
        try:
            yield
        finally:
            self._in_flight -= 1

    def answered(self, status: int) -> None:
        self._by_status[str(status)] += 1

    def served(self, question: Question, limit: int, records: int) -> None:
        """Record a page that is served whole."""
        self._pages[question.warehouse, question.offset, limit] += 1
        self._records += records
        if question.start and question.end:
            self._windows[f"{question.start.isoformat()}/{question.end.isoformat()}"] += 1

    def struck(self, fault: str) -> None:
        self._faults[fault] += 1

    def report(self) -> Stats:
        arrivals = self.arrivals.copy()
        pages = sorted(self._pages.copy().items(), key=lambda item: (str(item[0][0]), *item[0][1:]))
        return Stats(
            requests=len(arrivals),
            by_status=dict(self._by_status),
            pages=[PageCount(*page, count) for page, count in pages],
            windows=dict(self._windows),
            records=self._records,
            throttled=self._by_status["429"],
            faults=dict(self._faults),
            max_per_second=count_busiest_second(arrivals),
            max_in_flight=self._max_in_flight,
            connections=len(self._connections),
            first_request=arrivals[0] if arrivals else None,
            last_request=arrivals[-1] if arrivals else None,
        )


def count_busiest_second(times: Sequence[float]) -> int:
    """Return the maximum number of these ascending times, in seconds, within any half-open second."""
    most = first = 0
    for last, moment in enumerate(times):
        while moment - times[first] >= 1:
            first += 1
        most = max(most, last - first + 1)
    return most

"""What a first page and a second one show about a spec: for its author, before a window is read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sku_velocity.model.chunk import Page
from sku_velocity.model.window import Window, iso
from sku_velocity.source.bounds import requested_window
from sku_velocity.source.mapping import look_up
from sku_velocity.source.pages import FetchedPage
from sku_velocity.source.paginators import Positional
from sku_velocity.source.spec import SourceSpec
from sku_velocity.source.validation import PageReader, RawPage
from sku_velocity.source.window import WindowProbe, WindowReader
from sku_velocity.text import shorten

SHOWN_VALUES = 8  # of those that a filter saw


class Finding(NamedTuple):
    """What a page says about the spec; a fault would make a run fail or lose its records."""

    text: str
    is_fault: bool = False


LONGER = "read a longer window"
ONE_PAGE = Finding(f"one page holds the window, so the paging is not tested: {LONGER}")


def _fault(text: str) -> Finding:
    return Finding(text, is_fault=True)


@dataclass(frozen=True)
class PagingTrial:
    """Reads a second page whose records are known from the first, if the API takes a page size.

    It is half as long as the first page, so a window of one page tests the paging, too.
    """

    reader: WindowReader
    probe: WindowProbe
    first: FetchedPage[RawPage]

    async def findings(self) -> list[Finding]:
        """Read the second page and compare it. Raises what `SourceClient.fetch` raises."""
        records = self.first.content.records
        if len(records) < 2:
            return [Finding(f"{_count(records)} on the first page do not test the paging: {LONGER}")]
        is_positional = isinstance(self.reader.pages.paginator, Positional)
        found = await (self._by_position(records) if is_positional else self._by_cursor(records))
        return [found or Finding("the second page continues the first")]

    async def _by_position(self, records: list[Any]) -> Finding | None:
        paging, key = self._spec.paging, self.reader.position_key
        if not self.reader.sends_page_size:
            if len(records) == self.probe.total:
                return ONE_PAGE
            return self._why_wrong(records, await self._page_at(len(records), len(records)), key)
        size = len(records) // 2
        got, expected = await self._page_at(size, size), records[size : 2 * size]
        if got == expected:
            return None
        if got and got == records[: len(got)]:
            hint = ", or set paging.first to 1 if it counts from 1" if paging.first == 0 else ""
            return _fault(f"the second page is the same as the first: the source ignores {key}{hint}")
        if len(got) > size:
            limit = f"paging.limit_param {paging.limit_param}"
            return _fault(f"a page of {size} records was requested, and {len(got)} came: check {limit}")
        if got == records[size - 1 : 2 * size - 1]:
            last = "the second page repeats the last record of the first"
            return _fault(f"{last}: set paging.first to {1 - paging.first}")
        return self._differs(expected, got, key)

    async def _by_cursor(self, records: list[Any]) -> Finding | None:
        limit, key = self._spec.paging.limit_param, self.reader.cursor_key
        small = await self.reader.pages.at(0, len(records) // 2) if limit else self.first
        begin = small.content.records
        if limit and len(begin) >= len(records):
            wanted = f"a page of {len(records) // 2} records was requested, and {len(begin)} came"
            return _fault(f"{wanted}: check paging.limit_param {limit}")
        if small.following is None:
            return (
                _fault(f"a first page of {len(begin)} names no next page: check {key}") if limit else ONE_PAGE
            )
        got = (await self.reader.pages.after(small.following)).content.records
        expected = records[len(begin) :][: len(got)]
        if wrong := self._why_wrong(begin, got, key):
            return wrong
        return None if got[: len(expected)] == expected else self._differs(expected, got, key)

    async def _page_at(self, offset: int, count: int) -> list[Any]:
        return (await self.reader.pages.at(offset, count)).content.records

    def _why_wrong(self, first: list[Any], second: list[Any], key: str) -> Finding | None:
        """Compare two pages that should have no record in common."""
        if not second:
            return _fault(f"the second page is empty, although the first is not the last: check {key}")
        if second[: len(first)] == first[: len(second)]:
            return _fault(f"the second page is the same as the first: the source ignores {key}")
        if common := _common(first, second):
            return _fault(
                f"{common} of {_count(second)} of the second page are also on the first: check {key}"
            )
        return None

    def _differs(self, expected: list[Any], got: list[Any], key: str) -> Finding:
        common, order = _common(expected, got), "set order.params to a fixed ascending order"
        if common == len(expected) == len(got):
            return Finding(f"the same records came in another order as they were read again: {order}")
        return _fault(
            f"{_count(expected)} of the first page were read again, and {common} of them came: check {key}, "
            f"{order}, and read a window that no longer changes"
        )

    @property
    def _spec(self) -> SourceSpec:
        return self.reader.client.spec


def scope_findings(spec: SourceSpec, warehouse: str, window: Window, page: RawPage) -> Iterator[Finding]:
    """Yield what records outside the warehouse and the window say about the request."""
    if spec.items is not None or not page.records:
        return
    everything = PageReader(spec, warehouse, Window.everything())
    others = everything.validate(page, Page(0, len(page.records))).trimmed
    share = f"of {_count(page.records)}"
    if others and spec.request.names_warehouse:
        yield Finding(
            f"WARNING: {others} {share} are of another warehouse, although the request names it: check where "
            "request has {warehouse}, and fields.warehouse_id"
        )
    outside = [each for each in everything.instants(page) if each and each not in window]
    asked = requested_window(window, spec.window, spec.sent_bounds)
    beyond = [each for each in outside if each not in asked]
    if beyond and spec.has_window:
        yield Finding(
            f"WARNING: {len(beyond)} {share} are outside the window that was requested, {_span(beyond)}: the "
            f"source ignores {_bounds(spec)} (check the names), or compares in another zone or format (check "
            "window.timezone and window.format)"
        )
    elif outside:
        yield Finding(f"{len(outside)} {share} are outside the window and are trimmed, {_span(outside)}")


def filter_findings(spec: SourceSpec, records: Sequence[Any]) -> Iterator[Finding]:
    """Yield the values that each filter saw, with how often, kept and dropped."""
    for rule in spec.filter if records else ():
        values = [look_up(record, rule.path) for record in records]
        kept = Counter(_shown(value) for value in values if not rule.drops(value))
        dropped = Counter(_shown(value) for value in values if rule.drops(value))
        yield Finding(f"filter {rule.path} keeps {_listed(kept)}; drops {_listed(dropped)}")


def _listed(counts: Counter[str]) -> str:
    shown = ", ".join(f"{value} ({count})" for value, count in counts.most_common(SHOWN_VALUES))
    more = len(counts) - SHOWN_VALUES
    return (shown or "nothing") + (f", and {more} other values" if more > 0 else "")


def _shown(value: Any) -> str:
    return shorten(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 40)


def _bounds(spec: SourceSpec) -> str:
    params = " and ".join(name for _, name in spec.window.params if name)
    return f"the parameters {params}" if params else "{start} and {end} in request"


def _span(instants: Sequence[datetime]) -> str:
    return f"from {iso(min(instants))} to {iso(max(instants))}"


def _count(records: Sequence[Any]) -> str:
    return f"{len(records)} record{'' if len(records) == 1 else 's'}"


def _common(first: Sequence[Any], second: Sequence[Any]) -> int:
    """Count the records that are in both, with their repetitions."""
    texts = [Counter(json.dumps(each, sort_keys=True) for each in records) for records in (first, second)]
    return (texts[0] & texts[1]).total()

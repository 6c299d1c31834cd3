"""The rows of a simulated WMS: what a question finds, while rows come and go."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import datetime

from simulator.dialect import Page, Question
from simulator.items import ITEMS, WAREHOUSES, item_rows, make_new_items
from simulator.records import load_rows, make_newcomers
from simulator.row import Row
from simulator.scenario import Change, Scenario

MAX_VIEWS = 256

DeadLetterFilter = tuple[str | None, datetime | None, datetime | None]


class DataSet:
    """The rows by warehouse, in the order in which they are served, and the items beside them.

    `reads` counts the pages that were read, by which the scenario's changes are timed.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.reads = 0
        self._scenario = scenario
        self._rows = load_rows(scenario)
        self._rows[WAREHOUSES] = [_warehouse_row(name, scenario.start) for name in self._rows]
        self._rows[ITEMS] = item_rows(scenario.items, scenario.start)
        self._newcomers = 0
        self._views: dict[DeadLetterFilter, list[bytes]] = {}
        self._changes: dict[int, list[Change]] = {}
        for change in scenario.changes:
            self._changes.setdefault(change.request, []).append(change)

    @property
    def warehouses(self) -> Sequence[str]:
        return tuple(name for name in self._rows if name not in (ITEMS, WAREHOUSES))

    def rows(
        self, warehouse: str | None = None, start: datetime | None = None, end: datetime | None = None
    ) -> list[Row]:
        """The rows of a warehouse (None: all, by time) within [start, end), as they are now."""
        if warehouse is None:
            rows = (row for name in self.warehouses for row in self._rows[name])
            found = sorted(rows, key=lambda row: row.at)
        else:
            found = self._rows.get(warehouse, [])
        if start is None and end is None:
            return list(found)
        return [row for row in found if (not start or row.at >= start) and (not end or row.at < end)]

    def page(self, question: Question) -> Page:
        """The rows that a question asks for, after the changes that are due."""
        self.reads += 1
        for change in self._changes.pop(self.reads, ()):
            self.apply(change)
        bodies = self._view((question.warehouse, question.start, question.end))
        if self._scenario.shuffled:
            bodies = random.Random(self.reads).sample(bodies, len(bodies))
        first, last = question.offset, question.offset + self._allowed(question.limit)
        return Page(question, bodies[first:last], len(bodies) + self._scenario.total_delta)

    def apply(self, change: Change) -> None:
        """Delete and insert rows now; the newcomers bear the time of the row whose place they take."""
        rows = self._rows.setdefault(change.warehouse, [])
        place = slice(change.position, change.position + change.delete)
        at = rows[min(change.position, len(rows) - 1)].at if rows else self._scenario.start
        if change.warehouse == ITEMS:
            rows[place] = make_new_items(self._newcomers, change.insert, at)
        else:
            rows[place] = make_newcomers(self._scenario, change.warehouse, self._newcomers, change.insert, at)
        self._newcomers += change.insert
        self._views.clear()

    def _allowed(self, limit: int | None) -> int:
        asked = self._scenario.page_size if limit is None else limit
        return asked if self._scenario.max_page_size is None else min(asked, self._scenario.max_page_size)

    def _view(self, selection: DeadLetterFilter) -> list[bytes]:
        """The bodies of a selection, kept until a row changes: a page is then a slice."""
        if selection not in self._views:
            if len(self._views) >= MAX_VIEWS:
                self._views.clear()
            self._views[selection] = [row.body for row in self.rows(*selection)]
        return self._views[selection]


def _warehouse_row(name: str, at: datetime) -> Row:
    return Row(json.dumps({"code": name}).encode(), name, name, WAREHOUSES, 0, at)

"""The rows of a simulated WMS, and queries on them while rows change."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import datetime

from simulator.dialect import Page, Question
from simulator.items import ITEMS, WAREHOUSES, item_rows, make_new_items
from simulator.records import load_rows, make_new_rows
from simulator.row import Row
from simulator.scenario import Change, Scenario

MAX_VIEWS = 256

Selection = tuple[str | None, datetime | None, datetime | None]


class DataSet:
    """The rows by warehouse, in serving order, and the items.

    `reads` counts the pages read; the scenario's changes are timed by it.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.reads = 0
        self._scenario = scenario
        self._rows = load_rows(scenario)
        self._rows[WAREHOUSES] = [_warehouse_row(name, scenario.start) for name in self._rows]
        self._rows[ITEMS] = item_rows(scenario.items, scenario.start)
        self._inserted = 0
        self._views: dict[Selection, list[bytes]] = {}
        self._changes: dict[int, list[Change]] = {}
        for change in scenario.changes:
            self._changes.setdefault(change.request, []).append(change)

    @property
    def warehouses(self) -> Sequence[str]:
        return tuple(name for name in self._rows if name not in (ITEMS, WAREHOUSES))

    def rows(
        self, warehouse: str | None = None, start: datetime | None = None, end: datetime | None = None
    ) -> list[Row]:
        """Return the current rows of a warehouse (None: all, by time) within [start, end)."""
        if warehouse is None:
            rows = (row for name in self.warehouses for row in self._rows[name])
            found = sorted(rows, key=lambda row: row.at)
        else:
            found = self._rows.get(warehouse, [])
        if start is None and end is None:
            return list(found)
        return [row for row in found if (not start or row.at >= start) and (not end or row.at < end)]

    def page(self, question: Question) -> Page:
        """Apply the changes that are due, and return the rows that a question asks for."""
        self.reads += 1
        for change in self._changes.pop(self.reads, ()):
            self.apply(change)
        bodies = self._view((question.warehouse, question.start, question.end))
        if self._scenario.shuffled:
            bodies = random.Random(self.reads).sample(bodies, len(bodies))
        first, last = question.offset, question.offset + self._allowed(question.limit)
        return Page(question, bodies[first:last], len(bodies) + self._scenario.total_delta)

    def apply(self, change: Change) -> None:
        """Delete and insert rows now; new rows get the time of the row that they replace."""
        rows = self._rows.setdefault(change.warehouse, [])
        place = slice(change.position, change.position + change.delete)
        at = rows[min(change.position, len(rows) - 1)].at if rows else self._scenario.start
        if change.warehouse == ITEMS:
            rows[place] = make_new_items(self._inserted, change.insert, at)
        else:
            rows[place] = make_new_rows(self._scenario, change.warehouse, self._inserted, change.insert, at)
        self._inserted += change.insert
        self._views.clear()

    def _allowed(self, limit: int | None) -> int:
        requested = self._scenario.page_size if limit is None else limit
        return (
            requested
            if self._scenario.max_page_size is None
            else min(requested, self._scenario.max_page_size)
        )

    def _view(self, selection: Selection) -> list[bytes]:
        """Return the bodies of a selection, cached until a row changes, so that a page is a slice."""
        if selection not in self._views:
            if len(self._views) >= MAX_VIEWS:
                self._views.clear()
            self._views[selection] = [row.body for row in self.rows(*selection)]
        return self._views[selection]


def _warehouse_row(name: str, at: datetime) -> Row:
    return Row(json.dumps({"code": name}).encode(), name, name, WAREHOUSES, 0, at)

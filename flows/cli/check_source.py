"""One page of a source through its whole mapping, laid out for the person who writes its description."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from blocks import WmsSource
from sku_velocity.model.chunk import Page, PageResult
from sku_velocity.model.window import Window
from sku_velocity.source.mapping import look_up
from sku_velocity.source.spec import SourceSpec
from sku_velocity.source.window import WindowProbe, WindowReader
from sku_velocity.text import printable

PACING_HEADER = re.compile(r"rate|limit|retry|throttl|remaining", re.IGNORECASE)
SHOWN_CHARACTERS = 60
MOVEMENT = ("position", "movement_id", "sku_id", "warehouse_id", "units_moved", "timestamp_utc")
ITEM = ("position", "sku_id", "status", "description", "unit_volume", "aliases")


@dataclass(frozen=True)
class SourceCheck:
    """What the first page of a window showed."""

    spec: SourceSpec
    probe: WindowProbe
    records: list[Any]
    headers: Mapping[str, str]
    page: PageResult

    @property
    def _rows(self) -> Sequence[tuple[Any, ...]]:
        return self.page.items or self.page.movements

    @property
    def shown(self) -> int:
        """The place of the record to look at: the first that is neither filtered nor trimmed, if any is."""
        kept = [row[0] for row in self._rows] + [each.position for each in self.page.dead_letters]
        return min(kept, default=0)

    def fields(self) -> Iterator[tuple[str, str, str, str]]:
        """Of that record: each field's name, where it is looked for, what is told, what it comes to."""
        record = self.records[self.shown] if self.records else None
        columns = ITEM if self.spec.items else MOVEMENT
        row = next((row for row in self._rows if row[0] == self.shown), None)
        letter = next((each for each in self.page.dead_letters if each.position == self.shown), None)
        for name, field in self.spec.record.mapped():
            told = " | ".join(_short(look_up(record, path)) for path in field.paths)
            value = "filtered or trimmed" if row is None else _short(row[columns.index(name)])
            if letter is not None:
                wrong = [why.message for why in letter.reasons if why.field.startswith(field.paths or ("",))]
                value = f"rejected: {'; '.join(wrong)}"
            yield name, str(field), told, value

    def pacing_headers(self) -> dict[str, str]:
        """The headers that may tell of limits."""
        return {name: value for name, value in self.headers.items() if PACING_HEADER.search(name)}

    def advice(self) -> Iterator[str]:
        """What would make reading this source surer or cheaper."""
        spec, asked = self.spec, self.spec.paging.effective_page_size
        if not spec.tls.verify:
            yield "its certificate is not verified (tls.verify: false): name its authority as tls.ca_file"
        if spec.base_url.scheme == "http":
            yield "base_url is http: the token and the records can be read on their way"
        if self.probe.page_size < asked:
            size = self.probe.page_size
            yield f"the source gives at most {size} records a page: set paging.max_page_size: {size}"
        if spec.total.source == "none" and not spec.paging.is_sequential:
            yield "no total is mapped, so the end is searched for: set total, where the API tells one"
        if not spec.order.params and not spec.paging.is_sequential:
            yield "no order is asked for: set order.params to an ascending one, where the API has it"
        if spec.items is None and spec.fields.movement_id is None:
            yield "no movement_id is mapped: an order that is not fixed would not show"
        if spec.items is None and not spec.has_window:
            yield "the source is not asked for a window: every run reads all it has (window.params)"
        if spec.items is None and not spec.request.names_warehouse:
            yield "the source is not asked for one warehouse: the records of others are read and trimmed"
        if letter := next(iter(self.page.dead_letters), None):
            share = f"{len(self.page.dead_letters)} of {len(self.records)}"
            why = "; ".join(map(str, letter.reasons))
            yield f"{share} records are rejected; position {letter.position}: {why}"
        if self.page.filtered:
            yield f"{self.page.filtered} of {len(self.records)} records are filtered, and so no movements"
        if self.page.extra_fields:
            yield f"fields that the spec does not map: {', '.join(sorted(self.page.extra_fields))}"


async def check_source(source: WmsSource, warehouse: str, window: Window) -> SourceCheck:
    """Count a window and read its first page. Raises what `WindowReader.probe` raises."""
    async with source.get_client() as client:
        reader = WindowReader.of(client, warehouse, window)
        probe, answer = await reader.peek()
        page = reader.reader.validate(answer.content, Page(0, len(answer.content.records)))
        records = reader.reader.records_as_received(answer.content)
        return SourceCheck(source.spec, probe, records, answer.headers, page)


def print_check(check: SourceCheck, console: Console) -> None:
    """Lay a check out on a terminal."""
    place = "the first record" if check.shown == 0 else f"record {check.shown + 1}"
    table = Table(title=f"{check.spec.name}: {place} of {len(check.records)}", title_justify="left")
    for column in ("field", "looked for at", "told", "comes to"):
        table.add_column(column, overflow="fold")
    for row in check.fields():
        table.add_row(*(Text(printable(cell)) for cell in row))  # of which rich reads no markup
    console.print(table)
    if check.records:
        console.print("As told:", style="bold")
        told = json.dumps(check.records[check.shown], indent=2, ensure_ascii=False)[:2000]
        console.print("\n".join(map(printable, told.splitlines())), markup=False)
    total = "not told" if check.probe.total is None else f"{check.probe.total} records"
    console.print(f"total: {total}; page size: {check.probe.page_size}", markup=False)
    for name, value in check.pacing_headers().items():
        console.print(printable(f"header {name}: {value}"), markup=False)
    for line in check.advice():
        console.print(f"- {printable(line)}", markup=False)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else str(value) if value is not None else "(none)"
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"

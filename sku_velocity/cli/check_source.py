"""The command `check-source`: two pages of a source through its whole mapping, for the author of its spec."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sku_velocity.cli.executor import current, run
from sku_velocity.cli.terminal import DONE, NOT_DONE
from sku_velocity.errors import ConfigurationError
from sku_velocity.masking import hide
from sku_velocity.model.chunk import Page, PageResult
from sku_velocity.model.movement import DETAILS, ItemRow, MovementRow
from sku_velocity.model.run import NO_WAREHOUSE
from sku_velocity.model.window import Window, iso
from sku_velocity.source.mapping import label_of, look_up
from sku_velocity.source.spec import SourceSpec
from sku_velocity.source.trial import Finding, PagingTrial, filter_findings, scope_findings
from sku_velocity.source.warehouses import list_warehouses
from sku_velocity.source.window import WindowProbe, WindowReader
from sku_velocity.steps.access import SourceAccess
from sku_velocity.steps.window_choice import Bounds, WindowChoice
from sku_velocity.text import printable, shorten

PACING_HEADER = re.compile(r"rate|limit|retry|throttl|remaining", re.IGNORECASE)
SHOWN_CHARACTERS = 60
FAST_PAGES = (500, 2000)


@dataclass(frozen=True)
class SourceCheck:
    """The result of reading the first page of a window.

    `listed` are the warehouses that the source lists; None if they were not read. `lacks_following`: the body
    does not have the key of the next cursor or link. `findings` are what the records and a second page show.
    """

    spec: SourceSpec
    warehouse: str
    probe: WindowProbe
    records: list[Any]
    headers: Mapping[str, str]
    page: PageResult
    listed: Sequence[str] | None = None
    lacks_following: bool = False
    window: Window = Window.everything()
    findings: Sequence[Finding] = ()

    @property
    def is_usable(self) -> bool:
        """Whether something of this page would load, and no fault was found in the paging."""
        return bool(self._rows) and not any(each.is_fault for each in self.findings)

    @property
    def _rows(self) -> Sequence[MovementRow | ItemRow]:
        return self.page.items or self.page.movements

    @property
    def shown(self) -> int:
        """Return the position of the record to print: the first neither filtered nor trimmed, else 0."""
        positions = [row.position for row in self._rows] + [each.position for each in self.page.dead_letters]
        return min(positions, default=0)

    def fields(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield each field of that record: its name, path, raw value and mapped value."""
        record = self.records[self.shown] if self.records else None
        row = next((row for row in self._rows if row.position == self.shown), None)
        letter = next((each for each in self.page.dead_letters if each.position == self.shown), None)
        for name, field in self.spec.record.mapped():
            raw = " | ".join(_short(look_up(record, path)) for path in field.paths)
            value = "filtered or trimmed" if row is None else _short(getattr(row, name))
            if letter is not None:
                errors = [each.message for each in letter.reasons if each.field == label_of(name, field)]
                value = f"rejected: {'; '.join(errors)}"
            yield name, str(field), raw, value
        stored = json.loads(getattr(row, "extra", None) or "{}")
        for name, path in self.spec.extra.items():
            yield f"extra.{name}", path, _short(look_up(record, path)), _short(stored.get(name))

    def pacing_headers(self) -> dict[str, str]:
        """Return the headers that may describe rate limits."""
        return {name: value for name, value in self.headers.items() if PACING_HEADER.search(name)}

    def advice(self) -> Iterator[str]:
        """Yield what would make reading this source more reliable or cheaper."""
        spec, requested = self.spec, self.spec.paging.effective_page_size
        if not spec.tls.verify:
            yield "its certificate is not verified (tls.verify: false): set tls.ca_file to its authority"
        if spec.base_url.scheme == "http":
            sent = "the records travel" if spec.auth.kind == "none" else "the token and the records travel"
            yield f"base_url is http: {sent} unencrypted; use https"
        yield from self._why_empty()
        for finding in self.findings:
            yield f"WARNING: {finding.text}" if finding.is_fault else finding.text
        if self.probe.page_size < requested:
            size = self.probe.page_size
            yield f"the source returns at most {size} records per page: set paging.max_page_size: {size}"
        if not FAST_PAGES[0] <= (size := self.probe.page_size) <= FAST_PAGES[1]:
            yield (
                f"pages of {size} records: pages of {FAST_PAGES[0]:,} to {FAST_PAGES[1]:,} are read fastest; "
                "set paging.page_size if the source allows it"
            )
        if self.lacks_following:
            place = "paging.cursor_path" if spec.paging.cursor_path else "paging.next_path"
            yield (
                f"nothing at {place} {spec.paging.following_path} in the body: correct it if another page "
                "follows; if the API leaves it out at the end, set paging.more_path or total if it has either"
            )
        if spec.total.source == "none" and not spec.paging.is_sequential:
            yield "no total is mapped, so each run searches for the end: set total if the API reports one"
        if not spec.order.is_declared and not spec.paging.is_sequential:
            yield (
                "no order is declared: set order.params to an ascending order if the API supports it, or "
                "order.stable: true if its order is fixed without parameters"
            )
        if spec.items is None and spec.fields.movement_id is None:
            yield "no movement_id is mapped: an unstable order would not be detected"
        if spec.items is None and not spec.has_window:
            yield "requests do not name the window: every run reads all records; set window.params"
        if spec.items is None and not spec.request.names_warehouse:
            yield "requests do not name the warehouse: records of other warehouses are read and trimmed"
        for name, path in self._absent_fields():
            yield f"no record has {name} at {path}: correct the path, or remove the field"
        if letter := next(iter(self.page.dead_letters), None):
            share = f"{len(self.page.dead_letters)} of {len(self.records)}"
            reasons = "; ".join(map(str, letter.reasons))
            yield f"{share} records are rejected; position {letter.position}: {reasons}"
        if self.page.filtered:
            yield f"{self.page.filtered} of {len(self.records)} records are filtered: they are not movements"
        if self.page.extra_fields:
            yield f"fields that the spec does not map: {', '.join(sorted(self.page.extra_fields))}"

    def _absent_fields(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that may be absent, and are so in every record: their names and paths."""
        spec, nowhere = self.spec, object()
        mapped = [(name, field.paths) for name, field in spec.record.mapped() if name in DETAILS]
        for name, paths in [*mapped, *((name, (path,)) for name, path in spec.inputs.items())]:
            found = (look_up(record, path, nowhere) for record in self.records for path in paths)
            if paths and self.records and all(value is nowhere for value in found):
                yield name, " or ".join(paths)

    def _why_empty(self) -> Iterator[str]:
        """Yield why no record may be in scope."""
        spec = self.spec
        if not self.records and self.listed is not None and self.warehouse not in self.listed:
            listed = shorten(", ".join(self.listed))
            yield f"WARNING: the source does not list the warehouse {self.warehouse}; it lists {listed}"
        elif not self.records and spec.items is None:
            name = f"of the warehouse {self.warehouse} " if spec.request.names_warehouse else ""
            start, end = iso(self.window.start), iso(self.window.end)
            bounds = f"between {start} and {end} " if spec.has_window else ""
            yield (
                f"WARNING: no records {name}{bounds}were returned: check that the warehouse is named as in "
                "the source (--warehouse), the window (--start, --end), and the permissions of the token"
            )
        if self.records and self.page.trimmed == len(self.records):
            yield (
                f"WARNING: all {self.page.trimmed} records are of another warehouse or outside the window: "
                "check fields.warehouse_id and fields.timestamp_utc (its format and assume_timezone), and "
                "window.format and window.timezone"
            )


def check_source(
    *,
    source: str,
    warehouse: str | None = None,
    token_env: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> int:
    """Read two pages of a source, show how each field is mapped, and advise on a more reliable spec.

    Exit code: 0, or 1 if no record of the first page would load or the paging is wrong, 2 for bad usage or
    settings.

    Parameters
    ----------
    source
        The path of a spec file (.yaml) or, with Prefect, a wms-source block's name.
    warehouse
        The warehouse, as the API names it. Omit for a master's items.
    token_env
        The environment variable that holds the source's token.
    start
        The window's start, in ISO 8601 with a time zone. Omit for the last border of windows before
        its end: of an hour, or of a day if the source's window.grain is day.
    end
        The window's end, exclusive. Omit for the end of the last complete one that has settled.
    """

    async def read() -> bool:
        context = current().context()
        found = await context.find_source(source, token_env)
        if found.spec.items is None and not warehouse:
            raise ConfigurationError("--warehouse is missing: name the warehouse whose movements to read")
        options = {
            "source": source,
            "token_env": token_env,
            "warehouse": warehouse,
            "start": start,
            "end": end,
        }
        command = f"{context.program} check-source"
        asked, now = Bounds(start, end), datetime.now(UTC)
        window = WindowChoice(found.spec, asked, now, command, options).window()
        return await check(found, warehouse or NO_WAREHOUSE, window, Console())

    return DONE if run(read()) else NOT_DONE


async def check(source: SourceAccess, warehouse: str, window: Window, console: Console) -> bool:
    """Count a window, read two pages and print what they show. Return False if nothing would load.

    Raises what `WindowReader.probe` raises.
    """
    async with source.get_client() as client:
        spec, reader = source.spec, WindowReader.of(client, warehouse, window)
        probe, answer = await reader.peek()
        content = answer.content
        records = content.records
        is_listed = spec.warehouses is not None and spec.items is None
        found = [
            *scope_findings(spec, warehouse, window, content),
            *filter_findings(spec, records),
            *(await PagingTrial(reader, probe, answer).findings() if records else ()),
        ]
        check = SourceCheck(
            spec,
            warehouse,
            probe,
            records,
            answer.headers,
            reader.reader.validate(content, Page(0, len(records))),
            await list_warehouses(client) if is_listed and not records else None,
            content.lacks_following,
            window,
            found,
        )
        print_check(check, console)  # while the client's secrets are known, and so hidden
        return check.is_usable


def print_check(check: SourceCheck, console: Console) -> None:
    """Print a check on a terminal."""
    place = "the first record" if check.shown == 0 else f"record {check.shown + 1}"
    table = Table(title=f"{check.spec.name}: {place} of {len(check.records)}", title_justify="left")
    for column in ("field", "path", "raw value", "mapped value"):
        table.add_column(column, overflow="fold")
    for row in check.fields():  # as Text: rich must not interpret markup in it
        table.add_row(*(Text(printable(hide(cell))) for cell in row))
    console.print(table)
    if check.records:
        console.print("Raw record:", style="bold")
        record = hide(json.dumps(check.records[check.shown], indent=2, ensure_ascii=False))[:2000]
        console.print("\n".join(map(printable, record.splitlines())), markup=False)
    total = "not reported" if check.probe.total is None else f"{check.probe.total} records"
    console.print(f"total: {total}; page size: {check.probe.page_size}", markup=False)
    for name, value in check.pacing_headers().items():
        console.print(printable(hide(f"header {name}: {value}")), markup=False)
    for line in check.advice():
        console.print(f"- {printable(hide(line))}", markup=False)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else str(value) if value is not None else "(none)"
    text = hide(text)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"

"""The traps of paging through a source: which reader loses rows, and which of them reports it.

`python -m benchmarks.traps`, about 5 minutes.
"""

from __future__ import annotations

import csv
import tempfile
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import tools
from benchmarks.processes import Run, prefect_server, quiet_environment, run
from benchmarks.report import Cell, Section, Table, publish
from benchmarks.tools import Job, Tool
from simulator import Change, Fault, Scenario, Server, load_rows, serve

RECORDS = 20_000
PAGE = tools.PAGE
MOVED = 25
UNPROVEN = '"verdict":"unproven"'  # in our report
CONTROL = "clean source"
LONG = 400  # requests, more than any of the readers makes
TWELFTH = (
    12 * PAGE,
    12 * (PAGE - 1) - 1,
)  # offsets of the failing page: the peers', and ours with its overlap
COLUMNS = ("movement_id", "sku_id", "warehouse_id", "units_moved", "timestamp_utc")


@dataclass(frozen=True)
class Trap:
    """A misbehaving source, and its name in the table."""

    name: str
    scenario: Scenario


@dataclass(frozen=True)
class Finding:
    """The result of one reading: rows that stayed in the source but are missing, and duplicate rows."""

    exit_code: int
    stored: int
    missing: int
    twice: int
    unproven: bool = False

    @property
    def verdict(self) -> str:
        if self.exit_code:
            return (
                f"failed aloud, {self.stored:,} rows left" if self.stored else "refused aloud, nothing shown"
            )
        faults = [f"{self.missing:,} lost"] * bool(self.missing) + [f"{self.twice:,} twice"] * bool(
            self.twice
        )
        if self.unproven:
            return f"{', '.join(faults) or 'whole'}, reported as unproven"
        return f"**{', '.join(faults)}, in silence**" if faults else "whole"


@dataclass(frozen=True)
class Rerun:
    """A run with a failing page, and the rerun after it was fixed, with the rerun's requests and records."""

    first: Finding
    second: Finding
    requests: int
    records: int


def assess(exit_code: int, stored: Counter[str], expected: Collection[str]) -> Finding:
    """Compare what a reader stored with the rows that stayed in the source during the reading."""
    missing = sum(1 for row in expected if row not in stored)
    twice = sum(count - 1 for count in stored.values() if count > 1)
    return Finding(exit_code, stored.total(), missing, twice)


def readers() -> list[Tool]:
    return [
        *(tools.flow(paging=paging) for paging in tools.PAGINGS),
        tools.dlt(disposition="merge"),
        tools.dlt(disposition="replace"),
        tools.airbyte("short-page"),
        tools.airbyte("empty-page"),
        tools.singer(),
        tools.sequential(),
    ]


def traps(directory: Path) -> list[Trap]:
    clean = Scenario(records=RECORDS)
    newest_first = replace(clean, csv=_newest_first(clean, directory / "newest-first.csv"))

    def moving(last: int, delete: int = 0, insert: int = 0) -> tuple[Change, ...]:
        return tuple(Change(request, 0, delete, insert) for request in range(2, last))

    return [
        Trap(CONTROL, clean),
        Trap("page clamped to 500", replace(clean, max_page_size=500)),
        Trap("25 deleted at the head per request", replace(clean, changes=moving(LONG, delete=MOVED))),
        Trap("25 inserted, newest first", replace(newest_first, changes=moving(LONG, insert=MOVED))),
        Trap("25 deleted, first 20 requests", replace(clean, changes=moving(21, delete=MOVED))),
        Trap("25 inserted, first 20 requests", replace(newest_first, changes=moving(21, insert=MOVED))),
    ]


def _newest_first(scenario: Scenario, path: Path) -> Path:
    """Write the scenario's rows as a CSV file, newest first."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in reversed(load_rows(scenario)["WH-01"]):
            values = (row.movement_id, row.sku_id, row.warehouse_id, row.units_moved)
            writer.writerow((*values, f"{row.at:%Y-%m-%dT%H:%M:%SZ}"))
    return path


def spring(tool: Tool, trap: Trap, server: Server, home: Path, prefect: str) -> Finding:
    """Run a reader on a misbehaving source, into an empty destination."""
    server.play(_paged(trap.scenario, tool))
    before = _ids(server)
    job = Job(server.url, home)
    ran = _run(tool, job, prefect)
    found = assess(ran.exit_code, tool.stored(job), before & _ids(server))
    return replace(found, unproven=ran.exit_code == 0 and UNPROVEN in job.output.read_text())


def _paged(scenario: Scenario, tool: Tool) -> Scenario:
    """Return a scenario whose source pages as the tool's spec says."""
    return replace(scenario, dialect=tools.PAGINGS[tool.paging].dialect, page_size=PAGE)


def fail_and_fix(tool: Tool, server: Server, home: Path, prefect: str) -> Rerun:
    """Let a page fail permanently; then fix it, and run the reader again as its operator would."""
    faults = tuple(Fault("500", offset) for offset in TWELFTH)
    server.play(_paged(Scenario(records=RECORDS, faults=faults), tool))
    job, expected = Job(server.url, home), _ids(server)
    first = assess(_run(tool, job, prefect).exit_code, tool.stored(job), expected)
    server.clear()
    server.reset_stats()
    job = replace(job, attempt=2)
    second = assess(_run(tool, job, prefect).exit_code, tool.stored(job), expected)
    stats = server.stats()
    return Rerun(first, second, stats.requests, stats.records)


def _run(tool: Tool, job: Job, prefect: str) -> Run:
    environment = quiet_environment(job.home, **({"PREFECT_API_URL": prefect} if tool.uses_prefect else {}))
    return run(tool.command(job), job.home, environment, job.name)


def _ids(server: Server) -> set[str]:
    return {row.movement_id for row in server.simulator.dataset.rows("WH-01")}


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="traps-") as directory,
        serve(Scenario(records=1)) as server,
    ):
        work = Path(directory)
        with prefect_server(_new(work, "server")) as prefect:
            found: dict[Tool, list[Finding]] = {tool: [] for tool in readers()}
            for trap in traps(work):
                for tool in found:
                    finding = spring(tool, trap, server, _new(work), prefect.url)
                    print(f"{trap.name}: {tool.name}: {finding.verdict}", flush=True)
                    if trap.name == CONTROL and (finding.exit_code or finding.missing or finding.twice):
                        raise RuntimeError(f"{tool.name} does not read a clean source: {finding}")
                    found[tool].append(finding)
            reruns = {tool: fail_and_fix(tool, server, _new(work), prefect.url) for tool in found}
            publish(section([trap.name for trap in traps(work)], found, reruns))


def _new(work: Path, name: str | None = None) -> Path:
    return Path(tempfile.mkdtemp(dir=work, prefix=name))


def section(names: Sequence[str], found: dict[Tool, list[Finding]], reruns: dict[Tool, Rerun]) -> Section:
    verdicts: list[list[Cell]] = [
        [tool.name, *(finding.verdict for finding in findings)] for tool, findings in found.items()
    ]
    rerun_rows: list[list[Cell]] = [
        [tool.name, rerun.first.verdict, rerun.requests, rerun.records, rerun.second.verdict]
        for tool, rerun in reruns.items()
    ]
    after = ("reader", "a page fails for good", "requests of the rerun", "records of the rerun", "after it")
    return Section(
        "traps",
        "A source that misbehaves: rows lost, rows twice, and who says so",
        "python -m benchmarks.traps",
        [
            Table(
                f"{RECORDS:,} rows in pages of {PAGE:,}. *Lost* are rows that were in the source throughout "
                "and are missing from the destination; *in silence* is exit code 0.",
                ("reader", *names),
                verdicts,
            ),
            Table(
                "One page in the middle answers 500 until it is fixed; then the reader is run again.",
                after,
                rerun_rows,
            ),
        ],
        NOTES,
        tools.peer_versions(),
    )


NOTES = (
    "Each reader is a program that a careful user would write from its documentation, in its own "
    "process, against one simulated WMS on loopback. Ours is `python -m flows sync` under a Prefect server,"
    " into SQLite, with `--task-retries 0`; its rerun is `--resume`, which reads what a Retry in the "
    "Prefect UI reads.",
    "Changes happen before each page that is read: *per request* lasts as long as any reader reads,"
    " *first 20 requests* ends then. Ours refuses a source that never stops changing, after reading it "
    "three times; one that stops changing is read again and published.",
    "Ours by *page number* is proven by a small page for each border, with a *fixed size* by a second "
    "reading. A cursor or link whose spec does not declare it stable is published as *unproven*.",
    "dlt: `rest_api`, paginator `offset` with `total_path`, into DuckDB; `merge` on the record's id, "
    "its documented protection against rows read twice, and `replace`, the only choice if a source has no "
    "ids.",
    "Airbyte CDK: declarative stream, `OffsetIncrement`: with `page_size` set, as in the "
    "documentation's examples (a short page ends the reading), and without, the limit as a plain "
    "parameter (an empty page ends it, and while rows are inserted at the head there is none: this source "
    "stopped after 400 requests). singer-sdk: `RESTStream`, `OffsetPaginator`, its end by the total. "
    "What these two emit is counted: a destination with a primary key would merge the "
    "duplicates, and restore no lost row. Their rerun gets the state of the first run.",
    "The httpx script steps by the received rows, upserts by id and commits once, at the end: as "
    "careful as sixty lines can be.",
    "Left out: reading by cursor or by an incremental time field, which these readers can do if the "
    "API can; a rerun of Airbyte CDK or singer-sdk then resumes from the time that was reached. Sources"
    " without record ids, rows that change in place, and more than one warehouse.",
)

if __name__ == "__main__":
    main()

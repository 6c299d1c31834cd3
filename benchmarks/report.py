"""The results of a benchmark as a section of RESULTS.md and as JSON, with date, command and machine."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
OURS = ("prefect", "httpx", "pydantic", "sqlalchemy")
PREAMBLE = """\
# What was measured

Made by `make bench`, about an hour, or one by one by `python -m benchmarks NAME`; each section is
replaced when its benchmark runs. Compare figures within one table only: all of a table was run side by side,
in one go, on the machine that is named under it.
"""

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """Rows of figures under `columns`; the first column names the row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Section:
    """The results of one benchmark. `notes` describe its method and what it leaves out."""

    name: str
    title: str
    command: str
    tables: Sequence[Table]
    notes: Sequence[str]
    versions: Mapping[str, str] = field(default_factory=dict)


def target(goal: str, found: str, held: bool) -> str:
    """Return a note on a benchmark's target, and whether it was met."""
    return f"Target: {goal}. Found: {found}: {'held' if held else '**missed**'}."


def publish(section: Section) -> None:
    """Print a section, replace it in RESULTS.md, and write it as JSON."""
    moment, machine = datetime.now(UTC).replace(microsecond=0), describe_machine()
    text = render(section, moment, machine)
    print(text)
    document = RESULTS.read_text() if RESULTS.exists() else PREAMBLE
    RESULTS.write_text(put_section(document, section.name, text))
    report = {"date": moment.isoformat(), "machine": machine, **asdict(section)}
    directory = HERE / "results"
    directory.mkdir(exist_ok=True)
    (directory / f"{section.name}.json").write_text(json.dumps(report, indent=1) + "\n")


def render(section: Section, moment: datetime, machine: str) -> str:
    """Render a section as Markdown."""
    versions = "".join(f", {name} {number}" for name, number in section.versions.items())
    parts = [f"## {section.title}"]
    parts += [f"{table.title}\n\n{render_table(table)}" for table in section.tables]
    parts.append("\n".join(f"- {note}" for note in section.notes))
    parts.append(f"{moment:%Y-%m-%d %H:%M} UTC, `{section.command}`; {machine}{versions}.")
    return "\n\n".join(parts) + "\n"


def render_table(table: Table) -> str:
    """Render a table as Markdown: text left-aligned, figures right-aligned."""
    marks = [":--" if _is_text(column) else "--:" for column in zip(*table.rows, strict=True)]
    lines = [list(table.columns), marks, *([render_cell(cell) for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def render_cell(cell: Cell) -> str:
    """Format a figure with thousands separators, a fraction to three digits; None is `-`."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell.replace("|", "\\|")
    if isinstance(cell, int) or abs(cell) >= 100:
        return f"{cell:,.0f}"
    return f"{cell:.3g}"


def put_section(document: str, name: str, text: str) -> str:
    """Replace the section of that name in a document, or append it."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    block = f"{start}\n{text}{end}\n"
    found = re.compile(f"{re.escape(start)}\n.*?{re.escape(end)}\n", re.DOTALL)
    if found.search(document):
        return found.sub(lambda _: block, document)
    return f"{document.rstrip()}\n\n{block}"


def describe_machine() -> str:
    """Describe cores, memory, load average (five minutes), Python, and our main dependencies."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in OURS)
    return (
        f"{cores} cores ({platform.machine()}), {memory:.0f} GiB, {platform.system()}, "
        f"load {os.getloadavg()[1]:.1f}, "
        f"Python {platform.python_version()}, {packages}"
    )


def _is_text(column: Sequence[Cell]) -> bool:
    return any(isinstance(cell, str) for cell in column)

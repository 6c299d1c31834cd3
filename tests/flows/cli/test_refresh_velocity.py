"""What `refresh-velocity` prints: a warehouse's name is always plain text."""

from __future__ import annotations

from datetime import date

import pytest
from flows.cli.refresh_velocity import print_reports
from rich.console import Console

from sku_velocity.model.velocity_report import VelocityReport


def report(warehouse: str) -> VelocityReport:
    return VelocityReport(
        source="acme",
        warehouse=warehouse,
        as_of=date(2026, 3, 7),
        time_zone="UTC",
        days=91,
        skus=3,
        units=30,
        lines=9,
        completeness={7: 1, 28: 1, 91: 0.5},
        incomplete_days={},
        classes={"AX": 1, "BY": 2},
        movers=[],
        compared_with=None,
        changed=0,
        changes=[],
        files={"html": f"reports/{warehouse}.html"},
    )


@pytest.mark.parametrize("name", ["WH-01", "[red]x[/]", "[/nope]", "[link=http://x]y[/link]", ":x:"])
def test_a_warehouse_name_is_printed_literally(name: str) -> None:
    console = Console(width=200, force_terminal=True, color_system=None)
    with console.capture() as shown:
        print_reports([report(name)], console)
    assert shown.get().count(name) == 2  # in the table, and in the path of its file


def test_a_name_cannot_control_the_terminal() -> None:
    console = Console(width=200)
    with console.capture() as shown:
        print_reports([report("\x1b[2J\n")], console)
    assert "\x1b" not in shown.get() and "\ufffd[2J\ufffd" in shown.get()

"""Each preset reads the simulated system that it describes: whole, over the borders of adjacent windows."""

from __future__ import annotations

import asyncio
import csv
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from simulator.app import Simulator
from simulator.scenario import Scenario
from simulator.server import Server, serve
from simulator.systems import SYSTEMS, System
from simulator.systems.system import DAY
from sku_velocity.errors import SourceAuthError, SpecError
from sku_velocity.model.run import Verdict
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.presets import preset_names
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.window import WindowReader
from sku_velocity.store import Store, migrate
from sku_velocity.store.database import Database
from tests.support.fake_clock import FakeClock
from tests.support.steps_driver import no_sleep, read_whole

DAYS = [datetime(2026, 3, day, tzinfo=UTC) for day in (28, 29, 30)]  # in Berlin, clocks change on the 29th
EVENING = timedelta(hours=22, minutes=30)  # when the next day has begun in Shanghai
SECRET, WRONG = "user:s3cret", "user:wr0ng"
OPEN = {"json-server", "json-server-1", "datasette"}
VERDICTS = {"plain-array": Verdict.UNPROVEN}  # it has neither ids nor a declared order
ONE_WAREHOUSE = {"greaterwms", "inventree"}
ALL_WAREHOUSES = {"plain-array", "drf", "drf-cursor", "drf-page-number"}  # unless the user names a filter
UNORDERED = {"plain-array", "inventree", "json-server-1"}  # within an instant
CAPPED = {
    "drf",
    "drf-cursor",
    "drf-page-number",
    "pocketbase",
    "greaterwms",
    "oracle-fusion",
    "oracle-wms-cloud",
    "plain-array",
    "postgrest",
} | {
    "dynamics365",
    "sap-odata-v2",
    "sap-odata-v4",
}
MOVEMENTS = text(
    "SELECT sku_id, warehouse_id, units_moved, timestamp_utc, movement_id FROM published_movements"
    " WHERE run_id = :run ORDER BY position"
)


def in_berlin(**time: Any) -> dict[str, Any]:
    """What a user in Berlin says of a system whose times name no zone."""
    zone = "Europe/Berlin"
    return {"window": {"timezone": zone}, "fields": {"timestamp_utc": {**time, "assume_timezone": zone}}}


Content = Counter[tuple[Any, ...]]
QUOTED = ('O\'Hare "B" \\', "OTHER")


@dataclass(frozen=True)
class Case:
    """A preset, the system that is asked with it, and what its user has to say of their own."""

    preset: str
    warehouses: tuple[str, ...] = ("WH", "OTHER")
    zone: str | None = None
    own: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.preset + ("-berlin" if self.zone else "")

    @property
    def system(self) -> System:
        system = SYSTEMS[self.preset]
        return replace(system, zone=self.zone) if self.zone else system

    @property
    def borders(self) -> list[datetime]:
        return [day + (timedelta(0) if self.system.grain == DAY else EVENING) for day in DAYS]

    @property
    def windows(self) -> list[Window]:
        return [Window(start, end) for start, end in pairwise(self.borders)]


CASES = [
    Case("datasette"),
    Case("drf"),
    Case("drf-cursor"),
    Case("drf-page-number"),
    Case("dynamics365", QUOTED),
    Case("erpnext", QUOTED),
    Case("erpnext", zone="Europe/Berlin", own=in_berlin(join=["posting_date", "posting_time"])),
    Case("greaterwms", ("MAIN",)),
    Case("inventree", ("MAIN",)),
    Case("inventree", ("MAIN",), "Europe/Berlin", in_berlin(path="date")),
    Case("json-server"),
    Case("json-server-1"),
    Case("netsuite-suiteql", QUOTED),
    Case("odoo-json2"),
    Case("odoo-jsonrpc"),
    Case("oracle-fusion"),
    Case("oracle-wms-cloud"),
    Case("oracle-wms-cloud", zone="Europe/Berlin", own=in_berlin(path="create_ts")),
    Case("plain-array"),
    Case("pocketbase"),
    Case("postgrest"),
    Case("sap-odata-v2", QUOTED),
    Case("sap-odata-v4", QUOTED),
    Case("tryton", ("4", "5")),
    Case("tryton-8", ("4", "5")),
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)


def times(case: Case) -> Iterator[datetime]:
    """On each border of the windows, just before, just after and long after."""
    for border in case.borders:
        yield from (border + timedelta(seconds=seconds) for seconds in (-86400, -1, 0, 0, 0.5, 1))
        yield from (border + timedelta(minutes=13 * n, seconds=7) for n in range(1, 110))


def write_rows(case: Case, path: Path) -> None:
    """Movements at those times, as the system will tell them; each warehouse has all of them."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["movement_id", "sku_id", "warehouse_id", "units_moved", "timestamp_utc"])
        for number, (at, warehouse) in enumerate(
            (a, w) for a in sorted(times(case)) for w in case.warehouses
        ):
            sku, told = str(100 + number % 7), case.system.sent_at(at)
            rows.writerow([str(number), sku, warehouse, number % 5 + 1, told.isoformat()])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('presets')}/store.db"
    asyncio.run(migrate(url))
    return url


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


@pytest.fixture
def play(server: Server, tmp_path: Path) -> Any:
    """Let the server be a case's system, with its movements."""

    def start(case: Case, **scenario: Any) -> Server:
        write_rows(case, tmp_path / "rows.csv")
        server.play(Scenario(csv=tmp_path / "rows.csv", token=SECRET, **({"system": case.system} | scenario)))
        return server

    return start


def spec_of(case: Case, server: Server, **own: Any) -> dict[str, Any]:
    data = {
        "preset": case.preset,
        "name": str(case),
        "base_url": server.url,
        "paging": {"page_size": 50},
        "pace": {"requests_per_second": 10_000},
    }
    if case.preset == "dynamics365":
        data["auth"] = {"token_url": f"{server.url}/oauth2/token", "client_id": "me"}
    return data | case.own | own


async def read(
    case: Case, spec: dict[str, Any], url: str, window: Window, clock: FakeClock | None = None
) -> tuple[Verdict, list[tuple[Any, ...]]]:
    """One window through the steps; its verdict and what shows of it, in order."""
    run = f"{spec['name']} {window.start.isoformat()}"
    pace = {"clock": clock, "sleep": clock.sleep} if clock else {"sleep": no_sleep}
    async with (
        SourceClient.open(parse_spec(spec, "test"), SecretStr(SECRET), **pace) as client,
        Store.open(url) as store,
    ):
        reader = WindowReader.of(client, case.warehouses[0], window)
        verdict = await read_whole(reader, store, run, repairs=0)
        assert await store.dead_letters.of(run) == []
    database = Database(url)
    try:
        async with database.reading() as connection:
            return verdict, [tuple(row) for row in await connection.execute(MOVEMENTS, {"run": run})]
    finally:
        await database.close()


def content(rows: Iterable[tuple[Any, ...]]) -> Content:
    return Counter(row[:4] for row in rows)


def by_time(row: tuple[Any, ...]) -> str:
    return str(row[3])


def by_time_and_id(row: tuple[Any, ...]) -> tuple[str, list[int]]:
    return by_time(row), [int(number) for number in re.findall(r"\d+", row[4])]


def truth(server: Server, case: Case, window: Window) -> Content:
    found = server.ground_truth(case.warehouses[0], window.start, window.end).movements
    return Counter((sku, warehouse, units, written(at)) for _, sku, warehouse, units, at in found)


def written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def test_every_preset_is_tried_on_its_system() -> None:
    assert preset_names() == sorted(SYSTEMS) == sorted({case.preset for case in CASES})


@every_case
def test_a_preset_declares_the_grain_of_its_system(case: Case, server: Server) -> None:
    declared = parse_spec(spec_of(case, server), "test").grain
    assert declared.step == max(case.system.grain, timedelta(seconds=1))


@every_case
def test_adjacent_windows_hold_each_movement_once(case: Case, play: Any, store: str) -> None:
    server = play(case)
    for window in case.windows:
        verdict, found = asyncio.run(read(case, spec_of(case, server), store, window))
        assert verdict is VERDICTS.get(case.preset, Verdict.COMPLETE)
        assert content(found) == truth(server, case, window) and len(found) > 100
        assert found == sorted(found, key=by_time if case.preset in UNORDERED else by_time_and_id)


@every_case
def test_a_window_and_a_warehouse_are_asked_for_where_the_api_can_be(case: Case, server: Server) -> None:
    spec = parse_spec(spec_of(case, server), "test")
    assert spec.has_window is (case.preset not in ALL_WAREHOUSES)
    asks_by_warehouse = case.preset not in ALL_WAREHOUSES | ONE_WAREHOUSE
    assert spec.request.names_warehouse is asks_by_warehouse


@pytest.mark.parametrize("case", [case for case in CASES if case.preset not in OPEN], ids=str)
def test_a_wrong_secret_is_told_and_not_shown(case: Case, play: Any) -> None:
    spec = spec_of(case, play(case))

    async def look() -> None:
        async with SourceClient.open(parse_spec(spec, "test"), SecretStr(WRONG), sleep=no_sleep) as client:
            await WindowReader.of(client, case.warehouses[0], case.windows[0]).check()

    with pytest.raises(SourceAuthError) as caught:
        asyncio.run(look())
    shown = f"{caught.value}{caught.value.__cause__!r}"
    assert "wr0ng" not in shown and b64encode(WRONG.encode()).decode() not in shown


@pytest.mark.parametrize("case", [case for case in CASES if case.preset in CAPPED], ids=str)
def test_a_page_that_is_capped_in_silence_is_planned_for(case: Case, play: Any, store: str) -> None:
    server = play(case, system=replace(case.system, cap=20))
    spec = spec_of(case, server, name=f"{case}-capped")
    verdict, found = asyncio.run(read(case, spec, store, case.windows[0]))
    assert verdict is VERDICTS.get(case.preset, Verdict.COMPLETE)
    assert content(found) == truth(server, case, case.windows[0])


def test_a_throttle_that_is_told_in_the_body_is_waited_out(play: Any, store: str) -> None:
    case, clock = next(case for case in CASES if case.preset == "greaterwms"), FakeClock()
    server = play(case)
    server.simulator = Simulator(replace(server.simulator.scenario, requests_per_second=5), clock)
    own = {"pace": {"requests_per_second": 50}, "paging": {"page_size": 5}}
    spec = spec_of(case, server, name="greaterwms-slow", **own)
    verdict, found = asyncio.run(read(case, spec, store, case.windows[0], clock))
    assert verdict is Verdict.COMPLETE and content(found) == truth(server, case, case.windows[0])
    assert clock.now > len(found) / 5 / 50 * 2 and server.stats().throttled == 0


def test_a_part_of_a_preset_is_replaced_by_one_s_own() -> None:
    own = {"base_url": "https://x.example.com", "paging": {"page_size": 50}}
    spec = parse_spec({"preset": "greaterwms", **own, "fields": {"sku_id": {"const": "X-1"}}}, "test")
    assert (spec.name, spec.fields.sku_id.const, spec.fields.warehouse_id.const) == (
        "greaterwms",
        "X-1",
        "MAIN",
    )
    assert (spec.paging.page_size, spec.paging.style, spec.paging.max_page_size) == (50, "page", 1000)


def test_an_unknown_preset_is_told_with_the_known_ones() -> None:
    with pytest.raises(SpecError, match=r"unknown preset 'odo': known are .*odoo-json2"):
        parse_spec({"preset": "odo", "base_url": "https://x.example.com"}, "test")

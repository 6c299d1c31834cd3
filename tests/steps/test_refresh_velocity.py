"""A refresh against a store, compared with an independent computation by DuckDB from single movements."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.chunk import Chunk, Page, PageResult
from sku_velocity.model.movement import ItemRow
from sku_velocity.model.run import NO_WAREHOUSE, SyncRun
from sku_velocity.model.velocity import Thresholds
from sku_velocity.model.velocity_report import VelocityReport
from sku_velocity.model.window import Window
from sku_velocity.output.schemas import VELOCITY
from sku_velocity.steps.refresh_velocity import RefreshRequest, RefreshResult, refresh
from sku_velocity.store import Store
from tests.support.published_store import Moved, publish, table
from tests.support.sample import SAMPLES, valid_rows

pytestmark = pytest.mark.anyio

AS_OF = date(2026, 4, 5)  # a week after Berlin's change to summer time
BERLIN = "Europe/Berlin"

# Written independently of the code under test. DuckDB has its own time zone database (ICU).
INDEPENDENTLY = """
WITH moved AS (
    SELECT *, date_diff('day', timezone($zone, moved_at)::DATE, $as_of::DATE) AS ago FROM movements
), firsts AS (
    SELECT sku_id, min(moved_at) AS first_at, max(ago) + 1 AS age FROM moved WHERE ago >= 0 GROUP BY ALL
), recent AS (SELECT * FROM moved WHERE ago BETWEEN 0 AND 90),
busy AS (SELECT ago, count(*) AS lines FROM recent GROUP BY ALL),
open AS (SELECT ago FROM busy WHERE 20 * lines >= (SELECT median(lines) FROM busy)),
daily AS (
    SELECT sku_id, ago, sum(units)::HUGEINT AS units, count(DISTINCT order_id) AS orders FROM recent
    GROUP BY ALL
), calendar AS (
    SELECT f.sku_id, o.ago, coalesce(d.units, 0) AS units
    FROM firsts f JOIN (SELECT DISTINCT sku_id FROM recent) USING (sku_id) JOIN open o ON o.ago < f.age
    LEFT JOIN daily d ON d.sku_id = f.sku_id AND d.ago = o.ago
), by_calendar AS (
    SELECT sku_id, count(*) AS open_days, count(*) FILTER (ago < 7) AS open_7,
           count(*) FILTER (ago < 28) AS open_28,
           stddev_pop(units) / nullif(avg(units), 0) AS young,
           count(*) / nullif(count(*) FILTER (units > 0), 0)::DOUBLE AS adi,
           var_pop(units) FILTER (units > 0) / nullif(avg(units) FILTER (units > 0), 0) ** 2 AS cv2
    FROM calendar GROUP BY ALL
), ranked AS (
    SELECT sku_id, units, row_number() OVER (PARTITION BY sku_id ORDER BY units) AS place,
           ceil(95 * count(*) OVER (PARTITION BY sku_id) / 100) AS wanted FROM calendar
), p95 AS (SELECT sku_id, units AS p95 FROM ranked WHERE place = wanted),
weeks AS (SELECT ago // 7 AS week, count(*) AS days FROM open GROUP BY ALL),
weekly AS (
    SELECT s.sku_id, w.week, sum(coalesce(d.units, 0)) / w.days::DOUBLE AS rate
    FROM (SELECT DISTINCT sku_id FROM recent) s CROSS JOIN weeks w
    LEFT JOIN daily d ON d.sku_id = s.sku_id AND d.ago // 7 = w.week GROUP BY s.sku_id, w.week, w.days
), variation AS (
    SELECT sku_id, CASE WHEN age < 91 THEN any_value(young)
                        ELSE stddev_pop(rate) / nullif(avg(rate), 0) END AS variation
    FROM weekly JOIN firsts USING (sku_id) JOIN by_calendar USING (sku_id) GROUP BY sku_id, age
), sums AS (
    SELECT sku_id, count(DISTINCT ago) AS active_days, min(ago) AS days_since_last_movement,
           sum(CASE WHEN ago < 7 THEN units ELSE 0 END) AS units_7,
           sum(CASE WHEN ago < 28 THEN units ELSE 0 END) AS units_28, sum(units) AS units_91,
           count(*) FILTER (ago < 7) AS lines_7, count(*) FILTER (ago < 28) AS lines_28, count(*) AS lines_91
    FROM recent GROUP BY sku_id
), orders AS (SELECT sku_id, sum(orders) AS orders_91 FROM daily GROUP BY ALL),
shares AS (
    SELECT *, sum(lines_91) OVER by_lines - lines_91 AS lines_before, sum(lines_91) OVER () AS all_lines,
           sum(units_91) OVER by_units - units_91 AS units_before, sum(units_91) OVER () AS all_units,
           row_number() OVER by_lines AS rank_lines, row_number() OVER by_units AS rank_units
    FROM sums WINDOW by_lines AS (ORDER BY lines_91 DESC, sku_id ROWS UNBOUNDED PRECEDING),
                     by_units AS (ORDER BY units_91 DESC, sku_id ROWS UNBOUNDED PRECEDING)
)
SELECT sku_id, epoch_us(first_at), age, units_7::BIGINT, units_28::BIGINT, units_91::BIGINT, lines_7,
       lines_28, lines_91, orders_91::BIGINT, lines_91 / nullif(orders_91, 0)::DOUBLE, open_days, active_days,
       days_since_last_movement, units_91 / open_days::DOUBLE, lines_91 / open_days::DOUBLE, p95::BIGINT,
       (units_7 / nullif(open_7, 0)::DOUBLE) / nullif(units_28 / nullif(open_28, 0)::DOUBLE, 0),
       variation, adi, cv2,
       CASE WHEN adi IS NULL THEN NULL WHEN adi >= 1.32 AND cv2 >= 0.49 THEN 'lumpy'
            WHEN adi >= 1.32 THEN 'intermittent' WHEN cv2 >= 0.49 THEN 'erratic' ELSE 'smooth' END,
       rank_lines, rank_units,
       CASE WHEN 100 * lines_before < 80 * all_lines THEN 'A'
            WHEN 100 * lines_before < 95 * all_lines THEN 'B' ELSE 'C' END,
       CASE WHEN 100 * units_before < 80 * all_units THEN 'A'
            WHEN 100 * units_before < 95 * all_units THEN 'B' ELSE 'C' END,
       CASE WHEN variation <= 0.5 THEN 'X' WHEN variation <= 1 THEN 'Y' ELSE 'Z' END
FROM shares JOIN firsts USING (sku_id) JOIN by_calendar USING (sku_id) JOIN p95 USING (sku_id)
JOIN variation USING (sku_id) JOIN orders USING (sku_id) ORDER BY sku_id
"""
COMPARED = """
SELECT sku_id, first_movement, age_days, units_7, units_28, units_91, lines_7, lines_28, lines_91, orders_91,
       lines_per_order, open_days, active_days, days_since_last_movement, units_per_open_day,
       lines_per_open_day, p95_daily_units, trend, coefficient_of_variation, adi, cv2, demand_class,
       rank_lines, rank_units, raw_abc_lines, raw_abc_units, raw_xyz FROM current_velocity ORDER BY sku_id
"""


async def computed(url: str) -> list[tuple[Any, ...]]:
    """Return the stored figures, with the first movement in microseconds."""
    rows = await table(url, COMPARED)
    return [(sku, microseconds(first), *others) for sku, first, *others in rows]


def microseconds(instant: Any) -> int:
    at = datetime.fromisoformat(instant) if isinstance(instant, str) else instant
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def equal(one: Sequence[tuple[Any, ...]], other: Sequence[tuple[Any, ...]]) -> bool:
    """Compare rows; numbers that are not whole to nine digits."""
    return len(one) == len(other) and all(
        a == (pytest.approx(b, rel=1e-9, abs=1e-12) if isinstance(b, float) else b)
        for row, same in zip(one, other, strict=True)
        for a, b in zip(row, same, strict=True)
    )


def a_request(reports: Path, as_of: date = AS_OF, zone: str = BERLIN, **options: Any) -> RefreshRequest:
    return RefreshRequest("acme", "WH-01", as_of, zone, directory=reports, **options)


def independently(
    rows: Sequence[Moved], as_of: date, zone: str, directory: Path, orders: Sequence[str | None] = ()
) -> list[tuple[Any, ...]]:
    path = directory / "movements.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("sku_id", "units", "moved_at", "order_id"),
                *(
                    (sku, units, at.isoformat(), order)
                    for (sku, units, at), order in zip_longest(rows, orders)
                ),
            ]
        )
    with duckdb.connect() as connection:
        types = "{'sku_id': 'VARCHAR', 'units': 'BIGINT', 'moved_at': 'TIMESTAMPTZ', 'order_id': 'VARCHAR'}"
        connection.execute(f"CREATE TABLE movements AS FROM read_csv('{path}', header=true, columns={types})")
        return connection.execute(INDEPENDENTLY, {"zone": zone, "as_of": as_of}).fetchall()


def random_rows(seed: int, number: int = 3000, skus: int = 60) -> list[Moved]:
    """Movements of all kinds of SKUs: steady, in bursts, without units, tied; over 110 days."""
    draw = random.Random(seed)
    start = datetime(2025, 12, 20, tzinfo=UTC)
    rows = []
    for _ in range(number):
        sku = int(draw.paretovariate(0.8)) % skus
        day = draw.randrange(110) if sku % 3 else draw.choice([20, 50, 108])
        units = 0 if sku == 7 else draw.choice([1, 2, 10]) if sku % 2 else 5
        at = start + timedelta(days=day, microseconds=draw.randrange(86_400_000_000))
        rows.append((f"SKU-{sku:03}", units, at))
    steady = [(f"X-{n}", 4, start + timedelta(days=day, hours=12)) for n in (2, 1) for day in range(110)]
    return rows + steady


async def test_figures_and_classes_equal_those_of_an_independent_computation(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    seen: set[str] = set()
    for seed, zone in enumerate([BERLIN, "Asia/Kolkata"]):
        rows = random_rows(seed)
        draw = random.Random(seed)
        orders = [draw.choice([None, f"O-{draw.randrange(400)}"]) for _ in rows]
        await publish(store, rows, Window.everything(), orders=orders)
        await refresh(store, a_request(tmp_path, zone=zone))
        actual = await computed(store_url)
        assert equal(actual, independently(rows, AS_OF, zone, tmp_path, orders)) and len(actual) > 40
        seen |= {letter for row in actual for letter in row[-3:]} | {row[-6] for row in actual}
    assert seen >= {*"ABCXYZ", "smooth", "intermittent", "lumpy", None}


@pytest.mark.parametrize("path", [path for path, _ in SAMPLES], ids=[path.stem for path, _ in SAMPLES])
async def test_the_samples_top_skus_equal_those_computed_by_pandas(
    store: Store, store_url: str, tmp_path: Path, path: Path
) -> None:
    frame = valid_rows(path)
    instants = pd.to_datetime(frame.timestamp_utc, utc=True, format="ISO8601")
    rows = list(zip(frame.sku_id, frame.units_moved, instants.dt.to_pydatetime(), strict=True))
    await publish(store, rows, Window.everything())
    last = max(instants).date()
    assert min(instants).date() > last - timedelta(days=91)  # the period covers the whole file
    result = await refresh(store, a_request(tmp_path, last, "UTC"))
    sums = frame.groupby("sku_id").units_moved.sum()
    expected = sums.reset_index().sort_values(["units_moved", "sku_id"], ascending=[False, True]).head(10)
    top = [(mover.sku_id, mover.units_91) for mover in result.report.movers[:10]]
    assert top == list(expected.itertuples(index=False, name=None))
    expected_rows = [(*row[:9], None, None, *row[11:]) for row in independently(rows, last, "UTC", tmp_path)]
    assert equal(await computed(store_url), expected_rows)  # without order ids


def page_of(report: VelocityReport) -> str:
    return Path(report.files["html"]).read_text()


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def rows_on(day: str, **units: int) -> list[Moved]:
    return [(sku, number, datetime.fromisoformat(f"{day}T10:00:00+00:00")) for sku, number in units.items()]


async def test_history_is_kept_and_the_newest_day_is_current(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    await publish(store, rows_on("2026-04-01", A=9, B=1), Window.everything())
    for day in (3, 2):
        await refresh(store, a_request(tmp_path, date(2026, 4, day)))
    rows = await table(store_url, "SELECT as_of, sku_id FROM sku_velocity ORDER BY 1, 2")
    assert [(str(day), sku) for day, sku in rows] == [
        ("2026-04-02", "A"), ("2026-04-02", "B"), ("2026-04-03", "A"), ("2026-04-03", "B"),
    ]  # fmt: skip
    current = await table(store_url, "SELECT DISTINCT as_of FROM current_velocity")
    assert [str(day) for (day,) in current] == ["2026-04-03"]


async def test_a_second_refresh_of_a_day_replaces_the_first(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    await publish(store, rows_on("2026-04-01", A=9, B=1), Window.everything())
    await refresh(store, a_request(tmp_path))
    await publish(store, rows_on("2026-04-01", A=2), Window.everything())
    result = await refresh(store, a_request(tmp_path))
    assert await table(store_url, "SELECT sku_id, units_91 FROM sku_velocity") == [("A", 2)]
    assert len(await table(store_url, "SELECT 1 FROM velocity_refreshes")) == 1
    assert result.report.compared_with is None  # not with what it replaced


async def test_classes_are_compared_with_the_last_day_before(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    await publish(store, rows_on("2026-04-01", A=9, B=1), Window.everything())
    at_once = Thresholds(margin=0, days=1, new_days=1)
    await refresh(store, a_request(tmp_path, date(2026, 4, 1), thresholds=at_once))
    await publish(store, rows_on("2026-04-01", A=1, C=9), Window.everything())
    report = (await refresh(store, a_request(tmp_path, date(2026, 4, 3), thresholds=at_once))).report
    assert (report.compared_with, report.changed) == (date(2026, 4, 1), 3)
    assert [(each.sku_id, each.before, each.after) for each in report.changes] == [
        ("A", "AAX", "ABX"), ("C", "", "AAX"), ("B", "ABX", ""),
    ]  # fmt: skip
    changed = "SELECT sku_id FROM current_velocity WHERE class_changed ORDER BY 1"
    assert await table(store_url, changed) == [("A",), ("C",)]


async def test_a_warehouse_without_movements_is_empty_rather_than_stale(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    await publish(store, rows_on("2026-04-01", A=9), Window.everything())
    await refresh(store, a_request(tmp_path, date(2026, 4, 2)))
    await publish(store, [], Window.everything())
    report = (await refresh(store, a_request(tmp_path, date(2026, 4, 3)))).report
    assert (report.skus, report.lines, report.movers, report.changed) == (0, 0, [], 1)
    assert await table(store_url, "SELECT * FROM current_velocity") == []
    assert len(pd.read_parquet(report.files["parquet"])) == 0


async def test_unpublished_days_are_listed_and_their_share_is_stored(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    published = Window(datetime(2026, 3, 30, 22, tzinfo=UTC), datetime(2026, 4, 5, 10, tzinfo=UTC))
    await publish(store, rows_on("2026-04-01", A=9), published)
    report = (await refresh(store, a_request(tmp_path))).report
    assert report.missing_days == [AS_OF - timedelta(days=ago) for ago in range(90, 5, -1)]
    assert report.incomplete_days[AS_OF] == 0.5 and AS_OF - timedelta(days=5) not in report.incomplete_days
    shares = await table(store_url, "SELECT completeness_7, completeness_91 FROM current_velocity")
    assert shares == [(5.5 / 7, 5.5 / 91)]
    page = page_of(report)
    assert "85 not published, 1 only in part" in page and "2026-01-05 to 2026-03-30: 0 %" in page


async def test_the_files_hold_the_table_and_no_temporary_file_remains(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    await publish(store, random_rows(1, 500), Window.everything())
    reports = tmp_path / "deep" / "reports"
    result = await refresh(store, a_request(reports))
    stored = await table(store_url, "SELECT sku_id, rank_lines, units_91, trend FROM sku_velocity ORDER BY 2")
    for read, suffix in ((pd.read_parquet, "parquet"), (pd.read_csv, "csv")):
        frame = read(result.report.files[suffix])[["sku_id", "rank_lines", "units_91", "trend"]]
        assert (
            list(frame.astype(object).where(frame.notna(), None).itertuples(index=False, name=None)) == stored
        )
    assert names_in(reports) == [f"velocity.acme.WH-01.{each}" for each in ("csv", "html", "parquet")]


async def test_the_parquet_files_have_one_schema_from_the_first_refresh_on(
    store: Store, tmp_path: Path
) -> None:
    await publish(store, [], Window.everything())
    for day in (AS_OF - timedelta(days=2), AS_OF - timedelta(days=1), AS_OF):  # empty, no earlier classes
        path = (await refresh(store, a_request(tmp_path, day))).report.files["parquet"]
        schema = pq.read_schema(path)
        assert schema.equals(VELOCITY) and schema.field("lines_7").metadata[b"unit"] == b"lines"
        await publish(store, random_rows(1, 50), Window.everything())
    table = pq.read_table(path)
    assert table["previous_xyz"].null_count == 0 and table["trend"].to_pylist() == [
        None if math.isnan(each) else each for each in pd.read_parquet(path)["trend"]
    ]


async def test_a_hostile_name_cannot_escape_the_directory_and_is_escaped_in_the_page(tmp_path: Path) -> None:
    hostile = "../<script>alert(1)</script>"
    async with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        await publish(store, rows_on("2026-04-01", A=9), Window.everything(), warehouse=hostile)
        request = RefreshRequest("acme", hostile, AS_OF, directory=tmp_path / "reports")
        report = (await refresh(store, request)).report
    files = [Path(file) for file in report.files.values()]
    assert {file.parent for file in files} == {tmp_path / "reports"}
    page = page_of(report)
    assert page.count("<script") == 2 and "&lt;script&gt;" in page  # its data, and its own script


async def test_csv_is_escaped_for_spreadsheets_and_parquet_is_exact(store: Store, tmp_path: Path) -> None:
    await publish(store, rows_on("2026-04-01", **{"-1-1": 9}), Window.everything(), warehouse="=1+1")
    request = RefreshRequest("acme", "=1+1", AS_OF, directory=tmp_path)
    files = (await refresh(store, request)).report.files
    shown = pd.read_csv(files["csv"])[["warehouse_id", "sku_id"]].to_numpy().tolist()
    exact = pd.read_parquet(files["parquet"])[["warehouse_id", "sku_id"]].to_numpy().tolist()
    assert (shown, exact) == ([["'=1+1", "'-1-1"]], [["=1+1", "-1-1"]])


async def test_reports_of_similar_names_are_separate_files(store: Store, tmp_path: Path) -> None:
    places = [("c", "a-b"), ("b-c", "a"), ("c", "A-B")]
    for source, warehouse in places:
        await publish(store, rows_on("2026-04-01", A=9), Window.everything(), warehouse, source)
        await refresh(store, RefreshRequest(source, warehouse, AS_OF, directory=tmp_path))
    assert len({name.lower() for name in names_in(tmp_path) if name.endswith(".html")}) == len(places)


async def test_the_page_loads_nothing_from_the_network(store: Store, tmp_path: Path) -> None:
    await publish(store, random_rows(2, 300), Window.everything())
    page = page_of((await refresh(store, a_request(tmp_path))).report)
    assert page.count("<svg") == 3 and not any(
        word in page for word in (" src=", "@import", "url(http", "<link")
    )


async def test_two_sources_of_one_warehouse_have_separate_files(tmp_path: Path) -> None:
    async with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        for source in ("acme", "erp"):
            await publish(store, rows_on("2026-04-01", A=9), Window.everything(), source=source)
        results: list[RefreshResult] = [
            await refresh(store, RefreshRequest(source, "WH-01", AS_OF, directory=tmp_path))
            for source in ("acme", "erp")
        ]
    names = [Path(result.report.files["html"]).name for result in results]
    assert names == ["velocity.acme.WH-01.html", "velocity.erp.WH-01.html"]


async def test_the_thresholds_are_stored_with_the_refresh(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    await publish(store, rows_on("2026-04-01", A=6, B=4), Window.everything())
    await refresh(store, a_request(tmp_path, thresholds=Thresholds(a=0.5, b=0.6)))
    assert await table(store_url, "SELECT sku_id, raw_abc_units FROM sku_velocity ORDER BY 1") == [
        ("A", "A"),
        ("B", "C"),
    ]
    assert '"a": 0.5' in (await table(store_url, "SELECT settings FROM velocity_refreshes"))[0][0]


async def test_an_unwritable_directory_is_a_wrong_setting(store: Store, tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.touch()
    with pytest.raises(ConfigurationError, match="reports.*directory"):
        await refresh(store, a_request(taken))


async def make_master(store: Store, volumes: dict[str, float | None], retired: Sequence[str] = ()) -> None:
    items = [
        ItemRow(place, sku, "retired" if sku in retired else "active", None, volume, None, None, None, ())
        for place, (sku, volume) in enumerate(volumes.items())
    ]
    run = SyncRun(f"erp-{len(items)}", "erp", NO_WAREHOUSE, Window.everything(), len(items))
    await store.runs.begin(run, [Chunk(0, 0, len(items), len(items))])
    page = Page(0, len(items))
    await store.chunks.land_page(run.id, 0, PageResult(page, len(items), [], [], items=items))
    await store.publications.publish(run.id, "{}")


async def test_every_active_sku_of_the_master_has_a_row_and_its_volume(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    await make_master(store, {"A": 0.5, "DEAD": 2.0, "OLD": 1.0, "B": None}, retired=["OLD"])
    await publish(store, rows_on("2026-04-01", A=9, B=1), Window.everything(), orders=["O-1", "O-1"])
    report = (await refresh(store, a_request(tmp_path, master="erp"))).report
    rows = await table(store_url, "SELECT sku_id, units_91, trend, cube_91, cube_per_order, abc_lines, "
                       "raw_abc_lines, rank_lines, xyz FROM current_velocity ORDER BY 1")  # fmt: skip
    assert rows == [
        ("A", 9, 1.0, 4.5, 4.5, "N", "A", 1, "X"),
        ("B", 1, 1.0, None, None, "N", "A", 2, "X"),
        ("DEAD", 0, None, 0.0, None, "D", None, None, None),
    ]
    assert (report.skus, report.dead_skus, report.new, report.master) == (3, ["DEAD"], 2, "erp")
    assert "DEAD" not in {mover.sku_id for mover in report.movers} and report.movers
    assert "Dead SKUs: 1" in page_of(report) and report.classes == {"NX": 2, "D": 1}


async def test_a_sku_of_the_master_is_unknown_where_days_are_not_published(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    await make_master(store, {"A": None, "IDLE": None})
    start = datetime(2026, 3, 20, tzinfo=UTC)
    await publish(store, rows_on("2026-04-01", A=9), Window(start, start + timedelta(days=30)))
    report = (await refresh(store, a_request(tmp_path, master="erp"))).report
    figures = "SELECT units_7, units_28, units_91, abc_lines FROM current_velocity WHERE sku_id = 'IDLE'"
    assert await table(store_url, figures) == [(0, None, None, None)] and report.dead == 0


async def test_an_unknown_master_is_a_wrong_setting(store: Store, tmp_path: Path) -> None:
    await publish(store, rows_on("2026-04-01", A=9), Window.everything())
    with pytest.raises(ConfigurationError, match="no published master erp"):
        await refresh(store, a_request(tmp_path, master="erp"))


async def test_seasonality_is_last_years_rate_of_the_days_that_follow(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    last, then = datetime(2026, 4, 5, 10, tzinfo=UTC), datetime(2025, 4, 6, 10, tzinfo=UTC)
    rows = [("A", 1, last), ("B", 1, last)]
    rows += [("A", 2, then - timedelta(days=ago)) for ago in range(91)]
    rows += [("A", 6, then + timedelta(days=after)) for after in range(1, 29)]
    await publish(store, rows, Window.everything())
    await refresh(store, a_request(tmp_path))
    found = await table(store_url, "SELECT sku_id, seasonality FROM current_velocity ORDER BY 1")
    assert found == [("A", 3.0), ("B", None)]

"""The records of a simulated WMS: generated from a seed or read from a CSV file, some of them bad."""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import accumulate
from math import inf
from pathlib import Path
from typing import IO, Any

from simulator.dialect import put
from simulator.row import Row
from simulator.scenario import Scenario

SKU_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
MEAN_UNITS = 6


@dataclass(frozen=True)
class GroundTruth:
    """What a reader must find in some rows: counts of records, and the sum of units of the valid ones.

    `movements` holds (movement_id, sku_id, warehouse_id, units_moved, timestamp in UTC) of each valid row in
    order; `bad_positions` holds the positions of the others, `defects` their count by kind.
    """

    records: int
    valid: int
    bad: int
    units: int
    defects: Mapping[str, int]
    movements: Sequence[tuple[str, str, str, int, datetime]] = field(repr=False)
    bad_positions: Sequence[int] = field(repr=False)


def sku_of(rank: int) -> str:
    """Return the SKU with the n-th most movements."""
    return f"SKU-{rank:05d}"


def alias_of(rank: int) -> str:
    """Return the alias that a scanner uses for that SKU: a text that is not a valid SKU."""
    return f"ean:{4_000_000_000_000 + rank}"


def ground_truth(rows: Sequence[Row]) -> GroundTruth:
    """Return what a reader of these rows must find."""
    valid = [row for row in rows if row.defect is None]
    return GroundTruth(
        records=len(rows),
        valid=len(valid),
        bad=len(rows) - len(valid),
        units=sum(row.units_moved for row in valid),
        defects=Counter(row.defect for row in rows if row.defect is not None),
        movements=[(row.movement_id, row.sku_id, row.warehouse_id, row.units_moved, row.at) for row in valid],
        bad_positions=[position for position, row in enumerate(rows) if row.defect is not None],
    )


def load_rows(scenario: Scenario) -> dict[str, list[Row]]:
    """Return the scenario's rows by warehouse, in serving order."""
    if scenario.csv is not None:
        return _read_csv(scenario.csv, scenario.dialect.fields)
    return {warehouse: _generate(scenario, warehouse) for warehouse in scenario.warehouses}


def make_new_rows(scenario: Scenario, warehouse: str, serial: int, count: int, at: datetime) -> list[Row]:
    """Make `count` valid rows that are new to the warehouse, all of one instant, numbered from `serial`."""
    fields = scenario.dialect.fields
    return [
        _row(f"{warehouse}-new-{serial + n:06d}", f"NEW-{serial + n:06d}", warehouse, 1, at, {}, fields)
        for n in range(count)
    ]


def _generate(scenario: Scenario, warehouse: str) -> list[Row]:
    """Generate movements in ascending order of time, by Zipf's law: the n-th SKU moves 1/n times as often."""
    rng = random.Random(f"{scenario.seed}/{warehouse}")
    count, span = scenario.records, int(scenario.period.total_seconds())
    seconds = sorted(rng.randrange(span) for _ in range(count))
    weights = list(accumulate(1 / rank for rank in range(1, scenario.skus + 1)))
    ranks = rng.choices(range(1, scenario.skus + 1), cum_weights=weights, k=count)
    units = [1 + int(rng.expovariate(1 / MEAN_UNITS)) for _ in range(count)]
    defects = _choose_defects(rng, count, scenario.bad_ratio)
    aliased = set(rng.sample(range(count), round(count * scenario.aliased_ratio))) - defects.keys()
    return [
        _row(
            f"{warehouse}-{n:08d}",
            sku_of(ranks[n]),
            warehouse,
            units[n],
            scenario.start + timedelta(seconds=seconds[n]),
            {name: f"{name}-{n % 10}" for name in scenario.extra_fields}
            | ({"sku_id": alias_of(ranks[n])} if n in aliased else {}),
            scenario.dialect.fields,
            defects.get(n),
        )
        for n in range(count)
    ]


def _choose_defects(rng: random.Random, count: int, ratio: float) -> dict[int, str]:
    """Choose bad positions and their defects: exactly `count * ratio`, rounded, of all kinds equally."""
    bad = rng.sample(range(count), round(count * ratio))
    kinds = list(DEFECTS)
    return {position: kinds[n % len(kinds)] for n, position in enumerate(bad)}


def _row(
    movement_id: str,
    sku_id: str,
    warehouse_id: str,
    units_moved: int,
    at: datetime,
    extra: Mapping[str, str],
    fields: Mapping[str, str],
    defect: str | None = None,
) -> Row:
    record = {
        "movement_id": movement_id,
        "sku_id": sku_id,
        "warehouse_id": warehouse_id,
        "units_moved": units_moved,
        "timestamp_utc": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        **extra,
    }
    served = DEFECTS[defect](record) if defect else record
    return Row(_encode(served, fields), movement_id, sku_id, warehouse_id, units_moved, at, defect)


# Each makes a valid record invalid in one way, so that every reader must reject it.
DEFECTS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "lower_case_sku": lambda record: record | {"sku_id": record["sku_id"].lower()},
    "missing_field": lambda record: {name: value for name, value in record.items() if name != "units_moved"},
    "negative_units": lambda record: record | {"units_moved": -record["units_moved"]},
    "fractional_units": lambda record: record | {"units_moved": record["units_moved"] + 0.5},
    "february_30": lambda record: (
        record | {"timestamp_utc": f"{record['timestamp_utc'][:4]}-02-30T08:00:00Z"}
    ),
    "no_zone": lambda record: record | {"timestamp_utc": record["timestamp_utc"].removesuffix("Z")},
    "null_record": lambda record: None,
    "not_an_object": lambda record: [record["sku_id"], record["units_moved"]],
}


def _encode(record: Any, fields: Mapping[str, str]) -> bytes:
    if isinstance(record, dict):
        record = _lay_out(record, fields)
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()


def _lay_out(record: dict[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """Move each field of a record to its dotted path; a field without one keeps its name."""
    if not fields:
        return record
    nested: dict[str, Any] = {}
    for name, value in record.items():
        put(nested, fields.get(name, name), value)
    return nested


def _read_csv(path: Path, fields: Mapping[str, str]) -> dict[str, list[Row]]:
    """Read each line as a record, by warehouse. An invalid time counts as that of the previous line."""
    rows: dict[str, list[Row]] = {}
    at = datetime.min.replace(tzinfo=UTC)
    for line in _csv_lines(path):
        at = _instant(line["timestamp_utc"]) or at
        units = _whole(line["units_moved"])
        record = line | ({} if units is None else {"units_moved": units})
        row = Row(
            body=_encode(record, fields),
            movement_id=line.get("movement_id", ""),
            sku_id=line["sku_id"],
            warehouse_id=line["warehouse_id"],
            units_moved=units or 0,
            at=at,
            defect=_find_defect(line),
        )
        rows.setdefault(row.warehouse_id, []).append(row)
    return rows


def _csv_lines(path: Path) -> Iterator[dict[str, str]]:
    with _open_text(path) as text:
        yield from csv.DictReader(text)


def _open_text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _find_defect(line: Mapping[str, str]) -> str | None:
    """Return what is wrong with a line of a real CSV file, if anything."""
    findings: Iterable[tuple[str, bool]] = (
        ("sku_id", bool(line["sku_id"]) and set(line["sku_id"]) <= SKU_LETTERS),
        ("warehouse_id", bool(line["warehouse_id"].strip())),
        ("units_moved", 0 <= _number(line["units_moved"]) < inf and _number(line["units_moved"]) % 1 == 0),
        ("timestamp_utc", _instant(line["timestamp_utc"]) is not None),
    )
    return next((name for name, is_valid in findings if not is_valid), None)


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal(-1)


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _instant(text: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant.astimezone(UTC) if instant.tzinfo else None

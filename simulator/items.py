"""The items of a simulated ERP: a master of the SKUs in the simulated movements."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from simulator.records import alias_of, sku_of
from simulator.row import Row

ITEMS = "/items"  # their path, and their key beside the warehouses: no warehouse has this name
WAREHOUSES = "/warehouses"  # likewise, the list of the warehouses


def make_items(
    count: int, seed: int = 1, retired_ratio: float = 0.0, bad_ratio: float = 0.0
) -> tuple[Mapping[str, Any], ...]:
    """Make items of the first `count` SKUs, a share of them retired, another share invalid in four ways."""
    rng = random.Random(f"{seed}/items")
    marked = rng.sample(range(count), round(count * (retired_ratio + bad_ratio)))
    bad = {place: n for n, place in enumerate(marked[: round(count * bad_ratio)])}
    retired = set(marked[len(bad) :])
    kinds = list(DEFECTS.values())
    items = [_item(place + 1, "retired" if place in retired else "active") for place in range(count)]
    return tuple(kinds[bad[n] % len(kinds)](item) if n in bad else item for n, item in enumerate(items))


def item_rows(items: Sequence[Mapping[str, Any]], at: datetime) -> list[Row]:
    """Convert items to rows as they are served. Those that `make_items` made invalid count as bad."""
    return [_row(item, at) for item in items]


def make_new_items(serial: int, count: int, at: datetime) -> list[Row]:
    """Make `count` items that are new to the master, numbered from `serial`."""
    return item_rows([_item(900_000 + serial + n, "active") for n in range(count)], at)


def _item(rank: int, status: str) -> Mapping[str, Any]:
    return {
        "sku_id": sku_of(rank),
        "aliases": [alias_of(rank), f"sku {rank}"],
        "status": status,
        "description": f"Article {rank}",
        "unit_volume": rank % 50 / 10,
    }


# Each makes a valid item invalid in one way, so that every reader must reject it.
DEFECTS: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
    "lower_case_sku": lambda item: {**item, "sku_id": item["sku_id"].lower()},
    "no_status": lambda item: {name: value for name, value in item.items() if name != "status"},
    "unknown_status": lambda item: {**item, "status": "on hold"},
    "negative_volume": lambda item: {**item, "unit_volume": -1},
}


def _row(item: Mapping[str, Any], at: datetime) -> Row:
    body = json.dumps(item, separators=(",", ":"), ensure_ascii=False).encode()
    sku = str(item["sku_id"])
    return Row(body, sku, sku.upper(), ITEMS, 0, at, _find_defect(item))


def _find_defect(item: Mapping[str, Any]) -> str | None:
    findings = (
        ("lower_case_sku", str(item["sku_id"]) != str(item["sku_id"]).upper()),
        ("no_status", "status" not in item),
        ("unknown_status", item.get("status") not in (None, "active", "retired")),
        ("negative_volume", float(item.get("unit_volume") or 0) < 0),
    )
    return next((name for name, is_bad in findings if is_bad), None)

"""A slotting engine's client and records for the tests, of engines simulated and scripted."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from sku_velocity.models import MovementRow
from sku_velocity.slotting.batches import Batch, movement_batch
from sku_velocity.slotting.spec import EngineSpec, parse_engine

ENGINE_TOKEN = "s3cret-engine-token"
FAST = {"requests_per_second": 5000, "max_concurrency": 4}


def engine_spec(url: str, **parts: Any) -> EngineSpec:
    return parse_engine({"name": "slots", "base_url": url, "pace": FAST, **parts}, "test")


def some_rows(count: int, first: int = 0) -> list[MovementRow]:
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    return [
        (position, f"m-{position}", "SKU-1", "WH-01", 1, midnight + timedelta(seconds=position))
        for position in range(first, first + count)
    ]


def a_batch(count: int = 2) -> Batch:
    return movement_batch("acme", "run-1", "0-0", some_rows(count))


def told(accepted: list[str], rejected: dict[str, str] | None = None) -> bytes:
    """An answer's body."""
    refused = [{"id": id, "reason": reason} for id, reason in (rejected or {}).items()]
    return json.dumps({"accepted": accepted, "rejected": refused}).encode()

"""docs/slotting.md tells the truth: what it shows is what is sent, and is understood when it is answered."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta

import yaml

from sku_velocity.model.movement import MovementRow
from sku_velocity.model.push import (
    RemovedRow,
    SkuFigures,
    class_batch,
    movement_batch,
    removal_batch,
    replacement_batch,
)
from sku_velocity.model.window import Window
from sku_velocity.slotting.batches import Answer
from sku_velocity.slotting.client import SlottingClient
from sku_velocity.slotting.spec import EngineSpec, parse_engine
from tests.support.checkout import CHECKOUT
from tests.support.engine import engine_spec
from tests.support.scripted_server import Reply, scripted

TEXT = (CHECKOUT / "docs" / "slotting.md").read_text()
RUN = "0199a0b1-0000-7000-8000-000000000000"
ROWS = [
    MovementRow(300, "m-4711", "SKU-1", "WH-01", 6, datetime(2026, 3, 1, 8, 30, tzinfo=UTC)),
    MovementRow(301, None, "SKU-2", "WH-01", 1, datetime(2026, 3, 1, 8, 31, tzinfo=UTC)),
]


def shown(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_engine_that_is_described_is_the_default_one() -> None:
    spec = parse_engine(yaml.safe_load(shown("yaml")[0]), "docs/slotting.md")
    assert spec == EngineSpec(name="slots", base_url=spec.base_url)


def test_the_request_that_is_shown_is_sent_and_the_answer_that_is_shown_is_understood() -> None:
    head, body = shown("http")[0].split("\n\n")
    answer_shown = shown("json")[3]

    async def push(url: str) -> Answer:
        async with SlottingClient.open(engine_spec(f"{url}/api"), None) as client:
            return await client.push_movements(movement_batch("acme", RUN, "3-0", ROWS))

    with scripted(Reply(207, answer_shown.encode())) as server:
        answer = asyncio.run(push(server.url))
    ((path, headers),) = server.requests
    assert head.startswith(f"POST {path} HTTP/1.1\n")
    for name in ("Content-Type", "Idempotency-Key"):
        assert f"{name}: {headers[name]}" in head
    assert json.loads(server.bodies[0]) == json.loads(body)
    assert answer == Answer(("m-4711",), {f"{RUN}:301": "unknown SKU"})


def test_the_classes_that_are_shown_are_sent() -> None:
    batch = class_batch(
        "acme", 0, [SkuFigures("WH-01", "SKU-1", {"abc_lines": "A", "abc_units": "B", "xyz": None})]
    )
    assert json.loads(batch.body) == json.loads(shown("json")[2])


def test_what_is_shown_of_a_window_that_was_read_again_is_sent() -> None:
    row, hour = RemovedRow(-1, "m-4711", "WH-01", ROWS[0].timestamp_utc), datetime(2026, 3, 1, 8, tzinfo=UTC)
    ranges = [Window(hour, hour + timedelta(hours=1))]
    earlier = "0199a09f-0000-7000-8000-000000000000"
    batches = [
        removal_batch("acme", RUN, "removals-0", [row]),
        replacement_batch("acme", RUN, "removals-0", "WH-01", ranges, [earlier]),
    ]
    assert [json.loads(batch.body) for batch in batches] == list(map(json.loads, shown("json")[:2]))

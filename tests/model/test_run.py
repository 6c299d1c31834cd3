"""A run's id follows from the flow run that starts it and from what it reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sku_velocity.model.run import run_id_of
from sku_velocity.model.window import Window

HOUR = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, 1, tzinfo=UTC))
NEXT = Window(HOUR.end, HOUR.end + timedelta(hours=1))
FLOW_RUN, OTHER = str(UUID(int=1)), str(UUID(int=2))


def test_a_run_has_the_same_id_in_each_attempt_of_its_flow_run() -> None:
    assert run_id_of(FLOW_RUN, "acme", "WH-01", HOUR) == run_id_of(FLOW_RUN, "acme", "WH-01", HOUR)


def test_a_run_of_anything_else_has_another_id() -> None:
    places = [
        ("acme", "WH-01", HOUR),
        ("erp", "WH-01", HOUR),
        ("acme", "WH-02", HOUR),
        ("acme", "WH-01", NEXT),
    ]
    ids = {run_id_of(flow_run, *place) for flow_run in (FLOW_RUN, OTHER) for place in places}
    assert len(ids) == 8 and not ids & {FLOW_RUN, OTHER}

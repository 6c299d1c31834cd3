"""What the Prefect API returns to any client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from demo.prefect_client import prefect_client
from tests.support.prefect_server import PrefectServer
from tests.support.waiting import until

Found = list[dict[str, Any]]


def ask(server: PrefectServer, kind: str, run: str, enough: Callable[[Found], object] = bool) -> Found:
    """Return one flow run's objects of a kind, once `enough` accepts them; some arrive a few seconds late."""
    filters = {"flow_runs": {"id": {"any_": [run]}}}
    if kind == "logs":
        filters = {"logs": {"flow_run_id": {"any_": [run]}}}

    def look() -> tuple[Found] | None:
        found: Found = api.post(f"/{kind}/filter", json=filters).raise_for_status().json()
        return (found,) if enough(found) else None

    with prefect_client(server.api_url) as api:
        return until(look)[0]


def events(server: PrefectServer, name: str, run: str) -> list[dict[str, Any]]:
    """Return the events of a name about a sync run. They arrive a few seconds late."""

    def look() -> list[dict[str, Any]] | None:
        query = {"filter": {"event": {"name": [name]}}}
        answer = api.post("/events/filter", json=query)
        found = answer.raise_for_status().json()["events"]
        return [each for each in found if each["payload"]["run_id"] == run] or None

    with prefect_client(server.api_url) as api:
        return until(look)

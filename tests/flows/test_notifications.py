"""Notifications: real automations of a real server call a real receiver, for our deployments' runs only."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, tags
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.flows import Flow

from demo.prefect_client import prefect_client
from flows.artifacts.events import WarehouseLate, emit_late, find_events
from flows.command_line import main
from flows.runtime.ownership import TAG
from flows.runtime.prefect_internals import run_flow
from flows.sync_group import sync_group
from flows.sync_velocity import sync_velocity
from simulator.faults import Fault
from sku_velocity.model.status import Freshness, PublishedRange
from sku_velocity.model.window import Window
from tests.support.acme import WHOLE, spec_file, wms
from tests.support.acme_flow import sync
from tests.support.prefect_server import PrefectServer
from tests.support.scripted_server import Reply, ScriptedServer, scripted
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("prefect_server", "token")

HALF_HOUR = timedelta(minutes=30)


@pytest.fixture
def receiver() -> Iterator[ScriptedServer]:
    with scripted(Reply()) as server:
        yield server


@pytest.fixture(autouse=True)
def no_automations(prefect_server: PrefectServer) -> Iterator[None]:
    """Delete our notifications after a test: other tests' runs would fire them."""
    yield
    for each in automations(prefect_server):
        with prefect_client(prefect_server.api_url) as api:
            api.delete(f"/automations/{each['id']}").raise_for_status()


def automations(server: PrefectServer) -> list[dict[str, Any]]:
    with prefect_client(server.api_url) as api:
        found = api.post("/automations/filter", json={}).raise_for_status().json()
    return [each for each in found if each["name"].startswith("sku-velocity: ")]


def save_webhook(receiver: ScriptedServer, name: str = "receiver") -> str:
    Webhook(url=f"{receiver.url}/{name}", headers={"Content-Type": "application/json"}).save(
        name, overwrite=True
    )
    return f"webhook/{name}"


def received(receiver: ScriptedServer, enough: Callable[[list[Any]], object] = bool) -> list[dict[str, Any]]:
    """Return the bodies that were received, once `enough` accepts them."""

    def look() -> list[dict[str, Any]] | None:
        found = [json.loads(body) for body in receiver.bodies]
        return found if enough(found) else None

    return until(look, timeout=60)


def run_deployed(called: Flow[..., Any], parameters: dict[str, Any], tag: str | None) -> str:
    """Run a flow as a run of a deployment with a tag, in this process. Return the id of the flow run."""

    async def run() -> str:
        deployment = await called.to_deployment(f"notified-{tag}", tags=[tag] if tag else [])
        async with get_client() as client:
            flow_run = await client.create_flow_run_from_deployment(
                await deployment.aapply(), parameters=parameters, tags=[tag] if tag else []
            )
        with tags(*flow_run.tags):
            state: Any = await run_flow(called, flow_run, parameters=parameters, return_type="state")
        assert state.is_failed()
        return str(flow_run.id)

    return asyncio.run(run())


@flow(name="a neighbour's flow")
async def neighbour() -> None:
    raise RuntimeError("not our problem")


def test_a_failed_run_of_a_deployment_of_ours_is_notified_of_and_no_other(
    receiver: ScriptedServer, tmp_path: Path, sqlite_url: str
) -> None:
    assert main(["notify", save_webhook(receiver)]) == 0
    with wms(tmp_path, faults=(Fault("401", 299), Fault("401", 699))) as (_, source):
        common = {"source": source, "store": sqlite_url, "token_env": "WMS_TOKEN", "task_retries": 0, **WHOLE}
        run_deployed(neighbour, {}, None)
        run_deployed(sync_velocity, {**common, "warehouse": "WH-01"}, None)  # without our tag
        run_deployed(sync_group, {**common, "warehouses": ["WH-01"]}, TAG)  # its fan-out reports it
        sync(source, sqlite_url, **WHOLE)  # of no deployment: its caller sees it
        ours = run_deployed(sync_velocity, {**common, "warehouse": "WH-01"}, TAG)
    [body] = received(receiver)
    time.sleep(3)  # for any further one
    assert received(receiver) == [body]
    assert body["subject"] == "sku-velocity: Incomplete: WH-01 2026-03-01T00:00Z +7d"
    assert "Deployment notified-sku-velocity, sku-velocity-sync:\n2 of 10 chunks failed" in body["body"]
    assert body["body"].endswith(f"/runs/flow-run/{ours}") and body["flow_run_id"] == ours
    assert body["event"] == "prefect.flow-run.Incomplete"


def late_events(source: str) -> list[Any]:
    return asyncio.run(find_events(WarehouseLate.EVENT, {"sku-velocity.source": [source]}))


def test_a_late_warehouse_is_notified_of_once_and_a_silent_source_too(
    receiver: ScriptedServer, tmp_path: Path, sqlite_url: str
) -> None:
    CustomWebhookNotificationBlock(
        name="receiver", url=f"{receiver.url}/late", json_data={"text": "{{subject}}\n{{body}}"}
    ).save("receiver", overwrite=True)
    assert main(["notify", "custom-webhook/receiver", "--silent-hours", "0.004"]) == 0
    with wms(tmp_path) as (server, _):
        source = spec_file(server, tmp_path, name="overdue")
        with tags(TAG):
            assert sync(source, sqlite_url, **WHOLE)[1].published
            until(lambda: late_events("overdue"))
            assert sync(source, sqlite_url, **WHOLE)[1].published
            late, silent = received(receiver, lambda bodies: len(bodies) == 2)
    first = late["text"].splitlines()
    assert first[0] == "sku-velocity: late: WH-01 from overdue"
    assert "after 2026-03-08T00:00:00Z. Late warehouses of overdue: 1;" in first[1]
    assert "/runs/flow-run/" in first[-1]
    assert silent["text"].startswith("sku-velocity: silent: overdue\nNothing was published from overdue for")


def test_a_warehouse_has_one_event_until_it_was_not_late_in_between() -> None:
    start = datetime.now(UTC) - timedelta(days=2)
    names = [f"WH-{number:02}" for number in range(60)]  # more than a page of events

    @flow
    async def notice(end: datetime) -> None:
        window = PublishedRange(Window(end - HALF_HOUR, end), 1)
        late = [Freshness("stalled", name, window, end + HALF_HOUR) for name in names]
        await emit_late(late, end + timedelta(days=1))

    def count(number: int) -> None:
        until(lambda: len(late_events("stalled")) >= number)
        time.sleep(2)  # for any further one
        assert len(late_events("stalled")) == number

    asyncio.run(notice(start))
    count(60)
    asyncio.run(notice(start))  # still late
    asyncio.run(notice(start + timedelta(hours=1)))  # newer, but late all the time
    count(60)
    asyncio.run(notice(datetime.now(UTC) + HALF_HOUR))  # it was not late in between
    count(120)
    payload = WarehouseLate.model_validate(late_events("stalled")[0]["payload"])
    assert (payload.lag_seconds, payload.late_warehouses) == (86_400, 60)


def test_the_same_command_changes_nothing_and_another_one_updates(
    prefect_server: PrefectServer, receiver: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    block = save_webhook(receiver, "again")

    def notify(*more: str) -> list[str]:
        assert main(["notify", block, *more]) == 0
        return [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]

    assert notify() == ["created"] * 3
    assert notify() == ["unchanged"] * 3
    [silent] = [each for each in automations(prefect_server) if "silent" in each["name"]]
    with prefect_client(prefect_server.api_url) as api:
        api.patch(f"/automations/{silent['id']}", json={"enabled": False}).raise_for_status()
    assert notify("--silent-hours", "8") == ["unchanged", "unchanged", "updated"]
    found = {each["id"]: each for each in automations(prefect_server)}
    assert len(found) == 3 and all(each["tags"] == [TAG] for each in found.values())
    assert found[silent["id"]]["trigger"]["within"] == 8 * 3600 and not found[silent["id"]]["enabled"]


def test_an_automation_of_others_is_not_replaced(
    prefect_server: PrefectServer, receiver: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    block = save_webhook(receiver)
    assert main(["notify", block]) == 0
    first, *_ = automations(prefect_server)
    theirs = {name: first[name] for name in ("name", "trigger", "actions")} | {"description": "theirs"}
    with prefect_client(prefect_server.api_url) as api:
        api.put(f"/automations/{first['id']}", json=theirs | {"tags": []}).raise_for_status()
    assert main(["notify", block, "--silent-hours", "8"]) == 2
    assert "without the tag sku-velocity: rename or delete it" in capsys.readouterr().err
    found = {each["id"]: each for each in automations(prefect_server)}
    assert found[first["id"]]["description"] == "theirs"
    assert {each["trigger"]["within"] for each in found.values()} == {0.0, 3600.0, 26 * 3600.0}


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("slack", "'slack' is not of the form TYPE/NAME, as in slack-webhook/on-call"),
        ("slack-webhook/nobody", "no block slack-webhook/nobody: create it in the Prefect UI (Blocks)"),
        ("pigeon/nobody", "no block pigeon/nobody"),
        ("secret/mute", "the block secret/mute cannot notify: give one of a type that can"),
    ],
)
def test_a_block_that_cannot_notify_is_reported(
    block: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Secret(value="text").save("mute", overwrite=True)
    assert main(["notify", block]) == 2
    assert message in capsys.readouterr().err

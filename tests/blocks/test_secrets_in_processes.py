"""A process that a worker starts gets no secret of a block: neither in its environment nor as an argument."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from blocks import SlottingEngine, VelocityStore, WmsSource
from sku_velocity.slotting.spec import load_engine
from sku_velocity.source.spec import load_spec
from tests.support.hidden_secrets import (
    HIDDEN,
    KINDS,
    basic,
    hostile_engine,
    hostile_pages,
    hostile_source,
    leaks_in,
)
from tests.support.operator import Operator
from tests.support.scripted_server import Reply, answering

FAN_OUT = "/deployments/name/sku-velocity-sync-warehouses/sync-warehouses"
CHILD = "/deployments/name/sku-velocity-sync-group/sync-group"
RUN_ID = re.compile(r"PREFECT__FLOW_RUN_ID=([0-9a-f-]{36})")


def flow_processes() -> dict[str, str]:
    """Return the arguments and the environment of each process that runs a flow, by the flow run's id."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            content = "".join((process / name).read_text("latin-1") for name in ("cmdline", "environ"))
        except OSError:  # it has ended
            continue
        if run := RUN_ID.search(content):
            found[run[1]] = content
    return found


def save_blocks(url: str, store: str, directory: Path, kind: str) -> dict[str, Any]:
    """Save a source, a store and an engine with their secrets. Return the parameters that name them."""
    token, _, password, engine_token = HIDDEN.values()
    address = make_url(store).set(password=password).render_as_string(hide_password=False)
    source = load_spec(Path(hostile_source(url, directory, kind)))
    engine = load_engine(Path(hostile_engine(url, directory, kind)))
    blocks = {
        "source": WmsSource(spec=source, token=SecretStr(token)),
        "store": VelocityStore(url=SecretStr(address)),
        "push": SlottingEngine(spec=engine, token=SecretStr(engine_token)),
    }

    async def save() -> None:
        for block in blocks.values():
            await block.asave(f"hidden-{kind}", overwrite=True)

    asyncio.run(save())
    return dict.fromkeys(blocks, f"hidden-{kind}")


@pytest.mark.long
@pytest.mark.usefixtures("worker")
def test_no_process_of_a_worker_or_a_fan_out_gets_a_secret(
    operator: Operator, tmp_path: Path, postgresql_url: str
) -> None:
    token, fetched, _, engine_token = HIDDEN.values()
    page = hostile_pages(token)[1]  # the one that repeats nothing
    routes = {
        "/token": Reply(body=json.dumps({"access_token": fetched}).encode()),
        "/first": page,
        "/movements": Reply(422),
    }
    seen: dict[str, str] = {}

    def answer(path: str) -> Reply:
        seen.update(flow_processes())
        return routes[path.partition("?")[0]]

    with answering(answer) as server:
        *requests, last = (save_blocks(server.url, postgresql_url, tmp_path, kind) for kind in KINDS)
        runs = [start(operator, CHILD, request | {"warehouses": ["WH-01"]}) for request in requests]
        runs.append(start(operator, FAN_OUT, last | {"warehouses": ["WH-01"], "max_parallel": 1}))
        ended = [operator.wait_for_end(run, attempt=1) for run in runs]
    used = str(server.requests)
    assert all(secret in used for secret in (token, fetched, basic(token), engine_token))
    of_fan_out = {"flow_runs": {"parent_flow_run_id": {"any_": runs[-1:]}}}
    [child] = operator.post("/flow_runs/filter", of_fan_out)
    assert seen.keys() >= {*runs, child["id"]}
    assert leaks_in("\n".join(seen.values()) + str(ended)) == []


def start(operator: Operator, deployment: str, parameters: dict[str, Any]) -> str:
    return operator.start_run(operator.get(deployment)["id"], parameters)

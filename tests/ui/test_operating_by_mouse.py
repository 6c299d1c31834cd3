"""What an operator does in the Prefect UI, in a real browser: fill a form, see a failed run, retry it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from demo.__main__ import page_of_run
from simulator.faults import Fault
from simulator.server import Server
from tests.support.acme import wms
from tests.support.operator import SYNC_VELOCITY, Operator
from tests.support.prefect_api import Found, ask
from tests.support.prefect_server import PrefectServer
from tests.ui.pages import PrefectUi
from tests.ui.pictures import Take

CHUNK = re.compile(r"Chunk \d+-\d+")
pytestmark = pytest.mark.usefixtures("worker")

FAILING = {"ingest WH-02 300-399", "ingest WH-02 700-799"}


@pytest.fixture
def failing_wms(operator: Operator, tmp_path: Path) -> Iterator[Server]:
    """The WMS that the deployment reads; two of its ten pages fail until it is fixed."""
    faults = (Fault("401", 299), Fault("401", 699))
    with wms(tmp_path, warehouses=("WH-02",), faults=faults) as (server, path):
        operator.run("flows", "save-source", "wms", "--spec", path, "--token-env", "WMS_TOKEN")
        yield server


def test_the_form_of_a_custom_run_explains_every_parameter(
    operator: Operator, ui: PrefectUi, take: Take
) -> None:
    deployment = operator.get(SYNC_VELOCITY)
    parameters = deployment["parameter_openapi_schema"]["properties"]
    ui.open_custom_run("sync-velocity")
    for name, parameter in parameters.items():
        expect(ui.parameter(name)).to_contain_text(parameter["description"])
        ui.expect_value(name, deployment["parameters"].get(name, parameter.get("default")))
    take("ui-form", 2260)


def test_retry_pressed_with_the_mouse_reads_exactly_the_chunks_that_failed(
    failing_wms: Server, prefect_server: PrefectServer, ui: PrefectUi, take: Take, tmp_path: Path
) -> None:
    run = start_run(ui, f"sqlite:///{tmp_path}/store.db")
    ui.wait_for_state("Incomplete")
    assert ui.page.url.partition("?")[0] == page_of_run(prefect_server.api_url.removesuffix("/api"), run)
    reload_with(ui, prefect_server, run, task_runs=14)
    assert ui.task_runs(14, "12 Completed, 2 Failed")[1] == Counter(FAILING)
    expect(ui.artifacts(CHUNK)).to_have_count(8)
    page = ui.page.url
    open_summary(ui)
    expect(ui.main.get_by_role("heading", level=2).first).to_have_text("What failed")
    expect(ui.main).to_contain_text("300-399")
    expect(ui.main).to_contain_text(f"prefect flow-run retry {run}")
    take("ui-failed", 1280)
    ui.page.goto(page)
    failing_wms.clear()
    failing_wms.reset_stats()
    ui.retry()
    ui.wait_for_state("Complete")
    reload_with(ui, prefect_server, run, task_runs=14 + 6)
    names, failed = ui.task_runs(20, "18 Completed, 2 Failed")
    assert {name for name in names if "ingest" in name and names[name] == 2} == set(failed) == FAILING
    # 999: the final check, from the last record on
    assert {page.offset for page in failing_wms.stats().pages if page.limit == 101} == {299, 699, 999}
    take("ui-run", 1000)
    expect(ui.artifacts(CHUNK)).to_have_count(10)
    open_summary(ui)
    truth = failing_wms.ground_truth("WH-02")
    expect(ui.main).to_contain_text(f"{truth.valid} movements published, {truth.bad} rejected")
    take("ui-artifacts", 1120)


def start_run(ui: PrefectUi, store: str) -> str:
    """Fill in and submit the form. Return the run's id."""
    ui.open_custom_run("sync-velocity")
    ui.fill("warehouse", "WH-02")
    ui.fill("store", store)
    ui.fill("task_retries", "0")
    return ui.submit()


def open_summary(ui: PrefectUi) -> None:
    """Navigate from the run's page to its last summary."""
    ui.artifacts("acme--wh-02--summary").first.click()
    ui.open_last_of_key()


def reload_with(ui: PrefectUi, server: PrefectServer, run: str, task_runs: int) -> None:
    """Reload the page once the server knows the final state of this many task runs; it learns them late."""
    ask(server, "task_runs", run, lambda found: ended(found) == task_runs)
    ui.page.reload()


def ended(found: Found) -> int:
    return sum(each["state_type"] in ("COMPLETED", "FAILED") for each in found)

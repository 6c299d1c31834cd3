"""init on a Prefect server: it creates what is missing, changes what differs, and leaves what is not ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.init.deployments import AUTOMATION
from simulator.server import Server
from tests.support.prefect_server import PrefectServer
from tests.support.team import Team, recent_wms

SYNC = "/deployments/name/sku-velocity-sync/sync-velocity"
FEW = ("--deployment", "sync-velocity", "--no-check")


@pytest.fixture(scope="module")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server of its own: that of other tests has deployments of the same names."""
    server = PrefectServer.at(tmp_path_factory.mktemp("prefect"))
    with server.running():
        yield server


@pytest.fixture
def team(prefect_server: PrefectServer, tmp_path: Path) -> Iterator[Team]:
    """A team on a server without anything of theirs."""
    team = Team(prefect_server, Path(sys.executable), tmp_path)
    with team.api:
        yield team
        for kind in ("deployments", "automations", "block_documents", "work_pools"):
            for each in team.post(f"/{kind}/filter", {}):
                key = each["name"] if kind == "work_pools" else each["id"]
                team.api.delete(f"/{kind}/{key}").raise_for_status()


@pytest.fixture
def wms(team: Team) -> Iterator[Server]:
    with recent_wms(team.directory) as server:
        yield server


def names_on(team: Team, kind: str) -> set[str]:
    return {each["name"] for each in team.post(f"/{kind}/filter", {})}


def is_empty(team: Team) -> bool:
    return not any(names_on(team, kind) for kind in ("deployments", "block_documents", "work_pools"))


@pytest.mark.usefixtures("wms")
def test_the_same_answers_again_change_nothing_and_others_only_what_follows_from_them(team: Team) -> None:
    first = team.init_acme()
    assert first.returncode == 0, first.stdout + first.stderr
    deployed = team.get(SYNC)
    assert [each["active"] for each in deployed["schedules"]] == [True]
    assert (deployed["entrypoint"], deployed["pull_steps"]) == ("flows.sync_velocity.sync_velocity", [])
    assert names_on(team, "automations") == {AUTOMATION["name"]}
    assert names_on(team, "work_pools") == {"sku-velocity"}

    again = team.init_acme()
    assert again.returncode == 0 and "Nothing to change." in again.stdout
    assert team.get(SYNC) == deployed

    other = team.init_acme("--schedule.sync-velocity", "5 * * * *", "--deployment", "sync-velocity")
    assert other.returncode == 0, other.stdout + other.stderr
    assert "sync-velocity: schedule hourly: 20 * * * * UTC -> 5 * * * * UTC" in other.stdout
    assert "block wms-source/acme: unchanged" in other.stdout
    dropped = team.get("/deployments/name/sku-velocity-refresh/refresh-velocity")
    assert not any(each["active"] for each in dropped["schedules"])


@pytest.mark.usefixtures("wms")
def test_nothing_is_saved_for_a_source_that_cannot_be_read(team: Team) -> None:
    wrong = team.directory / "acme.yaml"
    spec: dict[str, Any] = yaml.safe_load(wrong.read_text())
    wrong.write_text(yaml.safe_dump(spec | {"fields": {"sku_id": "nowhere"}}))
    done = team.init_acme()
    assert done.returncode == 2 and "has fields.sku_id: nowhere" in done.stderr
    assert is_empty(team) and not (team.directory / "prefect.yaml").exists()


def test_missing_options_are_named_without_a_terminal(team: Team) -> None:
    done = team.init()
    assert done.returncode == 2
    assert done.stderr.startswith("error: --source, --store (or $SKU_VELOCITY_STORE): missing.")


@pytest.mark.usefixtures("wms")
def test_a_terminal_is_asked_with_defaults_and_before_anything_is_changed(team: Team) -> None:
    answers = ("acme.yaml", "", "WMS_TOKEN", "WH-01", "Europe/Berlin", "sync-velocity", "", "*/5 * * * *")
    shown = team.init_on_a_terminal(*answers, "n")
    assert "Work pool (sku-velocity)" in shown and "Continue?" in shown and is_empty(team)
    shown = team.init_on_a_terminal(*answers, "y")
    assert "done: deployments" in shown
    [schedule] = team.get(SYNC)["schedules"]
    assert schedule["schedule"]["cron"] == "*/5 * * * *"
    assert schedule["schedule"]["timezone"] == "Europe/Berlin"
    assert (team.directory / "sku-velocity.db").is_file()


@pytest.mark.usefixtures("wms")
def test_a_file_that_init_has_not_written_is_kept_and_its_difference_shown(team: Team) -> None:
    file = team.directory / "prefect.yaml"
    file.write_text("name: theirs\n")
    done = team.init_acme(*FEW)
    assert done.returncode == 2 and "--force" in done.stderr
    assert "-name: theirs" in done.stdout and file.read_text() == "name: theirs\n" and is_empty(team)
    assert team.init_acme(*FEW, "--force").returncode == 0
    assert "20 * * * *" in file.read_text()


@pytest.mark.usefixtures("wms")
def test_what_has_our_names_and_is_not_ours_is_not_touched(team: Team) -> None:
    flow = team.post("/flows/", {"name": "sku-velocity-sync"})["id"]
    theirs = team.post("/deployments/", {"name": "sync-velocity", "flow_id": flow, "tags": ["theirs"]})["id"]
    done = team.init_acme(*FEW)
    assert done.returncode == 2 and "has no tag sku-velocity" in done.stderr
    assert team.get(SYNC)["tags"] == ["theirs"] and not names_on(team, "block_documents")
    team.api.delete(f"/deployments/{theirs}").raise_for_status()

    automation = {**AUTOMATION, "trigger": {**AUTOMATION["trigger"], "match_related": {}}}
    theirs = team.post("/automations/", automation)["id"]
    done = team.init_acme(*FEW)
    assert done.returncode == 2 and "not about runs with the tag sku-velocity" in done.stderr
    assert team.get(f"/automations/{theirs}")["trigger"]["match_related"] == {}
    assert not names_on(team, "block_documents")


@pytest.mark.usefixtures("wms")
def test_another_source_and_another_store_are_deployed_beside_with_a_suffix(team: Team) -> None:
    assert team.init_acme(*FEW).returncode == 0
    spec = team.directory / "acme.yaml"
    spec.write_text(spec.read_text().replace("name: acme", "name: globex"))
    done = team.init_acme(*FEW)
    assert done.returncode == 2 and "it reads the source acme" in done.stderr
    team.store = f"sqlite:///{team.directory}/other.db"
    done = team.init_acme(*FEW)
    assert done.returncode == 2 and "it is another store" in done.stderr and "--suffix" in done.stderr
    spec.rename(team.directory / "globex.yaml")
    assert team.init_globex(*FEW).returncode == 0
    assert names_on(team, "deployments") == {"sync-velocity", "sync-velocity-globex"}


@pytest.mark.usefixtures("wms")
def test_a_failed_step_says_what_is_done_and_the_same_command_continues(team: Team) -> None:
    pool = {"name": "paused", "type": "prefect-agent"}
    team.post("/work_pools/", pool)
    done = team.init_acme(*FEW, "--work-pool", "paused")
    assert done.returncode == 1
    assert "Done: " in done.stderr and "block wms-source/acme" in done.stderr.partition("Not done: ")[0]
    assert done.stderr.partition("Not done: ")[2].startswith("deployments.")
    team.api.delete("/work_pools/paused").raise_for_status()
    again = team.init_acme(*FEW, "--work-pool", "paused")
    assert again.returncode == 0 and "block wms-source/acme: unchanged" in again.stdout
    assert team.get(SYNC)["work_pool_name"] == "paused"


def test_a_directory_that_hides_our_packages_is_refused(team: Team) -> None:
    (team.directory / "team" / "flows").mkdir(parents=True)
    done = team.init("--source", "acme.yaml", "--directory", "team")
    assert done.returncode == 2 and "contains flows" in done.stderr

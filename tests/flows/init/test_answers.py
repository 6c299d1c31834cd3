"""What init makes of options: deployments, schedules and parameters that fit the source, or an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.init.answers import Options, Questions, answer, answer_store, answer_token
from flows.init.deployments import deployments_in, flow_of, is_by_hand, team_file
from flows.runtime.ownership import TAG
from flows.runtime.prefect_internals import deployment_models
from sku_velocity.errors import ConfigurationError
from sku_velocity.source.spec import SourceSpec, parse_spec
from tests.support.days import WINDOWED

BASE: dict[str, Any] = {
    "name": "acme",
    "base_url": "https://wms.example.com",
    "request": {"params": {"warehouse": "{warehouse}"}},
    **WINDOWED,
}
LISTED = {"warehouses": {"request": {"path": "/warehouses"}, "field": "code"}}
SHARED = {"pace": {"shared_limit": "acme"}}


def spec_of(**parts: Any) -> SourceSpec:
    return parse_spec(BASE | parts, "acme.yaml")


def deployed(spec: SourceSpec, options: Options) -> dict[str, dict[str, Any]]:
    """Return the deployments that init writes without a terminal, by name."""
    answers = answer(options, spec, None, Questions(is_terminal=False))
    return {each["name"]: each for each in deployments_in(team_file(answers))}


def test_one_warehouse_is_read_by_its_own_deployment_on_an_active_schedule() -> None:
    found = deployed(spec_of(), Options(warehouses=["WH-01"], directory=Path("/teams/one")))
    assert list(found) == ["sync-velocity", "refresh-velocity", "backfill", "replay-dead-letters", "prune"]
    sync = found["sync-velocity"]
    assert sync["parameters"] == {"source": "acme", "warehouse": "WH-01", "store": "velocity"}
    assert sync["schedules"] == [{"cron": "20 * * * *", "timezone": "UTC", "slug": "hourly", "active": True}]
    assert found["refresh-velocity"]["parameters"]["reports"] == "/teams/one/reports"


@pytest.mark.parametrize(("parts", "parallel"), [({}, 1), (SHARED, 4)])
def test_warehouses_are_read_in_parallel_only_within_a_shared_pace(
    parts: dict[str, Any], parallel: int
) -> None:
    found = deployed(spec_of(**parts), Options(warehouses=["A", "B"]))
    assert "sync-velocity" not in found
    assert found["sync-warehouses"]["parameters"]["max_parallel"] == parallel
    assert found["sync-group"]["parameters"]["warehouses"] == ["A", "B"]


def test_all_warehouses_are_those_that_the_source_lists_at_each_run() -> None:
    found = deployed(spec_of(**LISTED), Options())
    assert "warehouses" not in found["sync-warehouses"]["parameters"]


def test_daily_windows_are_scheduled_daily_in_the_time_zone() -> None:
    options = Options(warehouses=["A"], window_minutes=1440, time_zone="Europe/Berlin")
    sync = deployed(spec_of(), options)["sync-velocity"]
    assert (sync["schedules"][0]["cron"], sync["schedules"][0]["timezone"]) == ("20 2 * * *", "Europe/Berlin")
    assert sync["parameters"]["window_zone"] == "Europe/Berlin"


def test_a_suffix_is_on_all_names_and_children_are_started_by_the_group_with_it() -> None:
    found = deployed(spec_of(), Options(warehouses=["A", "B"], suffix="west"))
    assert all(name.endswith("-west") for name in found)
    assert found["sync-warehouses-west"]["parameters"]["deployment"] == "sync-group-west"
    assert found["prune-west"]["parameters"] == {"store": "velocity-west"}


def test_exported_windows_are_compacted_where_they_are_exported() -> None:
    found = deployed(spec_of(), Options(warehouses=["A"], export_to="s3://bucket/path"))
    exported = {name: each["parameters"].get("export_to") for name, each in found.items()}
    assert exported["sync-velocity"] == exported["backfill"] == exported["compact"] == "s3://bucket/path"


def test_each_deployment_is_valid_for_prefect_and_its_flow_and_has_our_tag() -> None:
    every = ["sync-warehouses", "refresh-velocity", "backfill", "recheck", "replay-dead-letters", "compact"]
    options = Options(warehouses=["A", "B"], deployment=every, export_to="export", push=Path("slots.yaml"))
    answers = answer(options, spec_of(), "slots", Questions(is_terminal=False))
    text = team_file(answers)
    deployment_models().PrefectYamlModel.model_validate(yaml.safe_load(text))
    for each in deployments_in(text):
        flow_of(each).validate_parameters(each["parameters"])
        assert TAG in each["tags"] and ":" not in each["entrypoint"]


def test_a_file_is_of_init_until_a_line_of_it_is_changed() -> None:
    answers = answer(Options(warehouses=["A"]), spec_of(), None, Questions(is_terminal=False))
    text = team_file(answers)
    assert not is_by_hand(text)
    assert is_by_hand(text.replace("WH-01", "WH-02").replace("warehouse: A", "warehouse: B"))
    assert is_by_hand("name: another\n")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(), "--warehouse: missing"),
        (Options(warehouses=["A"], time_zone="Mars/Base"), "--time-zone: unknown time zone"),
        (Options(warehouses=["A"], suffix="No Name"), "--suffix: No Name"),
        (Options(warehouses=["A"], deployment=["sync"]), "--deployment: unknown sync"),
        (Options(warehouses=["A", "B"], deployment=["sync-velocity"]), "reads one warehouse"),
        (Options(warehouses=["A"], deployment=["sync-sku-master"]), "only for items"),
        (Options(warehouses=["A"], deployment=["compact"]), "--export-to: missing"),
        (Options(warehouses=["A"], schedule={"sync-velocity": "hourly"}), "--schedule.sync-velocity"),
        (Options(warehouses=["A"], schedule={"backfill": "20 * * * *"}), "--schedule.backfill"),
    ],
)
def test_options_that_do_not_fit_are_an_error_that_names_them(options: Options, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        deployed(spec_of(), options)


def test_a_token_is_required_unless_the_source_takes_none() -> None:
    questions = Questions(is_terminal=False)
    assert answer_token(Options(), spec_of(auth={"kind": "none"}), questions) == (None, None)
    answer_token(Options(), spec_of(), questions)
    with pytest.raises(ConfigurationError, match="--token-env or --token-secret: missing"):
        questions.check()


def test_the_path_of_a_sqlite_store_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = answer_store(Options(store="sqlite:///velocity.db"), Questions(is_terminal=False))
    assert found == f"sqlite:///{tmp_path}/velocity.db"

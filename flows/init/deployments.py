"""The deployments of a team, made from those of this project's prefect.yaml, and the file they are in."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from prefect.utilities.importtools import import_object

HERE = Path(__file__).parent
TEMPLATE: dict[str, Any] = yaml.safe_load((HERE / "prefect.yaml").read_text(encoding="utf-8"))
TEMPLATES: dict[str, dict[str, Any]] = {each["name"]: each for each in TEMPLATE["deployments"]}
SCHEDULES = {name: each["schedules"][0]["cron"] for name, each in TEMPLATES.items() if each["schedules"]}
[AUTOMATION] = yaml.safe_load((HERE / "automations.yaml").read_text(encoding="utf-8"))["automations"]

ONE, GROUP, MANY, MASTER = "sync-velocity", "sync-group", "sync-warehouses", "sync-sku-master"
BY_HAND = ("backfill", "replay-dead-letters")
DAILY = "20 2 * * *"  # before velocity is refreshed

FILE = "prefect.yaml"
DIGEST = "# init: "
HEADER = """\
# The deployments of {source}. Change them by `python -m flows init` with other options, or by hand: then
# `prefect --no-prompt deploy --all` in this directory deploys them, and init leaves the file as it is.
{digest}
"""


@dataclass(frozen=True)
class Answers:
    """What a team has chosen: the paths absolute, the schedules complete, nothing secret."""

    source: str
    store: str
    engine: str | None
    warehouses: Sequence[str]
    shares_pace: bool
    export_to: str | None
    work_pool: str
    deployments: Sequence[str]
    schedules: Mapping[str, str]
    time_zone: str
    window_minutes: int | None
    window_zone: str | None
    reports: str
    suffix: str


def team_file(answers: Answers) -> str:
    """Return the text of a team's prefect.yaml. Its second line has a digest of what follows it."""
    content = {
        "name": TEMPLATE["name"],
        "pull": [],  # the flows are modules of the worker's environment
        "deployments": [_deployment(name, answers) for name in answers.deployments],
    }
    body = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
    return HEADER.format(source=answers.source, digest=DIGEST + _digest(body)) + body


def is_by_hand(text: str) -> bool:
    """Return True if a file is not as `init` has written it."""
    _, found, rest = text.partition(DIGEST)
    digest, _, body = rest.partition("\n")
    return not found or digest != _digest(body)


def difference(old: str, new: str) -> str:
    """Return a unified diff of two texts of the file."""
    names = f"{FILE} (now)", f"{FILE} (new)"
    return "\n".join(difflib.unified_diff(old.splitlines(), new.splitlines(), *names, lineterm=""))


def deployments_in(text: str) -> list[dict[str, Any]]:
    """Return the deployments of a prefect.yaml; none if it is something else."""
    try:
        found = yaml.safe_load(text)["deployments"]
        return [
            each for each in found if isinstance(each["entrypoint"], str) and isinstance(each["name"], str)
        ]
    except (yaml.YAMLError, LookupError, TypeError):
        return []


def flow_of(deployment: dict[str, Any]) -> Flow[..., Any]:
    """Return the flow at a deployment's entrypoint."""
    flow: Flow[..., Any] = import_object(deployment["entrypoint"])
    return flow


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _deployment(name: str, answers: Answers) -> dict[str, Any]:
    deployment = deepcopy(TEMPLATES[name])
    path, _, function = deployment["entrypoint"].partition(":")
    # A module, not a file: it is found in the environment of any worker, whether a wheel or a checkout.
    deployment["entrypoint"] = f"{path.removesuffix('.py').replace('/', '.')}.{function}"
    deployment["name"] = _named(name, answers)
    deployment["work_pool"]["name"] = answers.work_pool
    deployment["parameters"] = _parameters(deployment, answers)
    for schedule in deployment["schedules"]:
        schedule |= {"cron": answers.schedules[name], "timezone": answers.time_zone, "active": True}
    deployment.pop("triggers", None)  # they are examples
    return deployment


def _named(name: str, answers: Answers) -> str:
    return f"{name}-{answers.suffix}" if answers.suffix else name


def _parameters(deployment: dict[str, Any], answers: Answers) -> dict[str, Any]:
    known = flow_of(deployment).parameters.properties
    fixed: dict[str, Any] = {
        "source": answers.source,
        "store": answers.store,
        "warehouse": next(iter(answers.warehouses), None),
        "warehouses": list(answers.warehouses) or None,
        "max_parallel": None if answers.shares_pace else 1,
        "time_zone": answers.time_zone,
        "reports": answers.reports,
    }
    more = {
        "push": answers.engine,
        "export_to": answers.export_to,
        "window_minutes": answers.window_minutes,
        "window_zone": answers.window_zone,
        "deployment": _named(GROUP, answers) if answers.suffix else None,
    }
    parameters = {
        name: fixed.get(name) if name in ("warehouse", "warehouses") else fixed.get(name) or value
        for name, value in deployment["parameters"].items()
    }
    parameters |= {name: value for name, value in more.items() if name in known}
    return {name: value for name, value in parameters.items() if value is not None}

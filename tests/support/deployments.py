"""The deployments of prefect.yaml."""

from __future__ import annotations

import importlib
from typing import Any

import yaml
from prefect.flows import Flow

from tests.support.checkout import CHECKOUT

TEXT = (CHECKOUT / "prefect.yaml").read_text()
CONTENT: dict[str, Any] = yaml.safe_load(TEXT)
DEPLOYMENTS: list[dict[str, Any]] = CONTENT["deployments"]


def flow_of(deployment: dict[str, Any]) -> Flow[..., Any]:
    path, name = deployment["entrypoint"].split(":")
    assert (CHECKOUT / path).is_file()
    flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert isinstance(flow, Flow)
    return flow

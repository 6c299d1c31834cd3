"""A WMS and the ERP whose items map its SKUs, simulated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from simulator.items import make_items
from simulator.scenario import Scenario
from simulator.server import Server, serve
from tests.support.acme import TOKEN, spec_of

SKUS = 40
ITEMS_OF_ALL = make_items(SKUS)
MAPPED: dict[str, Any] = {"master": "erp", "max_reject_ratio": 1}


@contextmanager
def wms_and_erp(tmp_path: Path, **scenario: Any) -> Iterator[tuple[Server, str, str]]:
    """Serve both from one server. Yield it and the paths of its two specs."""
    parts = {"records": 300, "skus": SKUS, "items": ITEMS_OF_ALL, "aliased_ratio": 0.5} | scenario
    with serve(Scenario(token=TOKEN, **parts)) as server:
        yield server, spec(tmp_path, server, "acme"), spec(tmp_path, server, "erp")


def spec(directory: Path, server: Server, name: str) -> str:
    content = spec_of(server) | {"name": name}
    if name == "erp":
        del content["fields"]
        content |= {"request": {"path": "/items"}, "items": {"aliases": "aliases"}}
        content["paging"] = {"page_size": 11}
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def without(*ranks: int) -> tuple[Any, ...]:
    return tuple(item for n, item in enumerate(ITEMS_OF_ALL, 1) if n not in ranks)

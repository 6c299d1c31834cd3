"""The fan-out over many warehouses: the shards, their idempotency keys, and the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.window import Window
from sku_velocity.model.window_grid import WindowGrid
from sku_velocity.source.spec import SourceSpec

MAX_SHARDS = 10_000  # each is a flow run


@dataclass(frozen=True)
class Shard:
    """A time range of one warehouse: what one run reads."""

    warehouse: str
    window: Window

    def __str__(self) -> str:
        return f"{self.warehouse} {self.window}"

    def key(self, fan_out: UUID) -> str:
        """Return the idempotency key of the shard's run, the same for every attempt of the fan-out."""
        place = [self.warehouse, self.window.start.isoformat(), self.window.end.isoformat()]
        return str(uuid5(fan_out, json.dumps(place)))


def plan_shards(warehouses: Sequence[str], window: Window, grid: WindowGrid | None) -> list[Shard]:
    """Cut one window of many warehouses at the borders of a grid, or not at all.

    The earliest range of all warehouses comes first; duplicate warehouses count once. Raises
    ConfigurationError if there are too many shards.
    """
    names = list(dict.fromkeys(warehouses))
    count = len(names) * (-(-(window.end - window.start) // grid.step) if grid else 1)
    if count > MAX_SHARDS:
        raise ConfigurationError(
            f"{len(names)} warehouses over {window} are {count} runs, at most {MAX_SHARDS} are allowed: use "
            "a shorter range or longer windows (window_minutes)"
        )
    stretches = list(grid.cut(window)) if grid else [window]
    return [Shard(name, stretch) for stretch in stretches for name in names]


def check_fan_out(spec: SourceSpec, shards: Sequence[Shard], max_parallel: int) -> None:
    """Check that a source can be read by these runs, at most `max_parallel` in parallel.

    Raises ConfigurationError if its API has no window parameters, or if parallel runs would each use the
    whole pace.
    """
    if not spec.has_window and any(not shard.window.is_everything for shard in shards):
        raise ConfigurationError(
            f"source {spec.name} cannot be asked for a window, so each run would read everything: set "
            "window.params in its spec if the API supports it, or omit start, end and window_minutes"
        )
    if spec.pace.shared_limit is None and min(max_parallel, len(shards)) > 1:
        raise ConfigurationError(
            f"source {spec.name}: {min(max_parallel, len(shards))} parallel runs would multiply its pace: "
            "set pace.shared_limit in its spec so that they share it, or set max_parallel to 1"
        )

"""The fan-out over many warehouses: the shards, their idempotency keys, and the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.coverage import cut
from sku_velocity.model.run import Verdict
from sku_velocity.model.window import Window
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


class ShardOutcome(BaseModel):
    """The result of one shard.

    `verdict` and `published` are from the store; `state` and `message` are the final ones of its flow run.
    `failed` is true if the run did not succeed: what it read may be published, but not exported or pushed.
    `flow_run_id` is None if no flow run was started, `run_id` if it has planned nothing. `seconds` is the
    run time.
    """

    model_config = ConfigDict(frozen=True)

    warehouse: str
    start: datetime
    end: datetime
    verdict: Verdict | None
    published: bool
    failed: bool
    state: str
    message: str
    loaded: int = 0
    rejected: int = 0
    seconds: float = 0.0
    flow_run_id: str | None = None
    run_id: str | None = None

    def __str__(self) -> str:
        return f"{self.warehouse} {Window(self.start, self.end)}: {self.state}: {self.message}"


class FanOutReport(BaseModel):
    """The result of a fan-out: every shard, in start order."""

    model_config = ConfigDict(frozen=True)

    source: str
    shards: list[ShardOutcome]

    @property
    def failed(self) -> list[ShardOutcome]:
        """Return the shards whose run failed."""
        return [shard for shard in self.shards if shard.failed]

    @property
    def left(self) -> list[ShardOutcome]:
        """Return the shards that are not published."""
        return [shard for shard in self.shards if not shard.published]


def plan_shards(warehouses: Sequence[str], window: Window, window_hours: int | None) -> list[Shard]:
    """Cut one window of many warehouses into ranges of at most `window_hours`, aligned to UTC.

    The earliest range of all warehouses comes first; duplicate warehouses count once. Raises
    ConfigurationError if there are too many shards.
    """
    names = list(dict.fromkeys(warehouses))
    size = timedelta(hours=window_hours) if window_hours else window.end - window.start
    count = len(names) * -(-(window.end - window.start) // size)
    if count > MAX_SHARDS:
        raise ConfigurationError(
            f"{len(names)} warehouses over {window} in windows of {window_hours} hours are {count} runs, "
            f"at most {MAX_SHARDS} are allowed: use a shorter range or longer windows (window_hours)"
        )
    stretches = cut(window, size) if window_hours else [window]
    return [Shard(name, stretch) for stretch in stretches for name in names]


def check_fan_out(spec: SourceSpec, shards: Sequence[Shard], max_parallel: int) -> None:
    """Check that a source can be read by these runs, at most `max_parallel` in parallel.

    Raises ConfigurationError if its API has no window parameters, or if parallel runs would each use the
    whole pace.
    """
    if not spec.has_window and any(not shard.window.is_everything for shard in shards):
        raise ConfigurationError(
            f"source {spec.name} cannot be asked for a window, so each run would read everything: set "
            "window.params in its spec if the API supports it, or omit start, end and window_hours"
        )
    if spec.pace.shared_limit is None and min(max_parallel, len(shards)) > 1:
        raise ConfigurationError(
            f"source {spec.name}: {min(max_parallel, len(shards))} parallel runs would multiply its pace: "
            "set pace.shared_limit in its spec so that they share it, or set max_parallel to 1"
        )

"""Many warehouses as many runs: which there are, by what key each is known, and what they come to."""

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
    """A stretch of time of one warehouse: what one run reads."""

    warehouse: str
    window: Window

    def __str__(self) -> str:
        return f"{self.warehouse} {self.window}"

    def key(self, fan_out: UUID) -> str:
        """By what the shard's run is known within a fan-out, whichever attempt of it starts it."""
        place = [self.warehouse, self.window.start.isoformat(), self.window.end.isoformat()]
        return str(uuid5(fan_out, json.dumps(place)))


class ShardOutcome(BaseModel):
    """What became of one shard.

    `verdict` and `published` are as the store has them, `state` and `message` as its flow run ended, `failed`
    is whether that was no success: what was read may be published, but not handed on. `flow_run_id` is None
    where no run was begun. Seconds are those in which it ran.
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

    def __str__(self) -> str:
        return f"{self.warehouse} {Window(self.start, self.end)}: {self.state}: {self.message}"


class FanOutReport(BaseModel):
    """What a fan-out came to: every shard, in the order in which they were started."""

    model_config = ConfigDict(frozen=True)

    source: str
    shards: list[ShardOutcome]

    @property
    def failed(self) -> list[ShardOutcome]:
        """The shards whose run did not end well."""
        return [shard for shard in self.shards if shard.failed]

    @property
    def left(self) -> list[ShardOutcome]:
        """The shards that are not published."""
        return [shard for shard in self.shards if not shard.published]


def plan_shards(warehouses: Sequence[str], window: Window, window_hours: int | None) -> list[Shard]:
    """One window of many warehouses, cut into stretches of at most so many hours, aligned to UTC.

    The earliest stretch of all warehouses comes first; a warehouse that is named twice counts once. Raises
    ConfigurationError where there are too many shards.
    """
    names = list(dict.fromkeys(warehouses))
    size = timedelta(hours=window_hours) if window_hours else window.end - window.start
    count = len(names) * -(-(window.end - window.start) // size)
    if count > MAX_SHARDS:
        raise ConfigurationError(
            f"{len(names)} warehouses from {window} in shards of {window_hours} hours are {count} runs, and "
            f"at most {MAX_SHARDS} are started at a time: a shorter window, or longer shards (window_hours)"
        )
    stretches = cut(window, size) if window_hours else [window]
    return [Shard(name, stretch) for stretch in stretches for name in names]


def check_fan_out(spec: SourceSpec, shards: Sequence[Shard], max_parallel: int) -> None:
    """See that a source can be read by so many runs at once.

    Raises ConfigurationError where it cannot be asked for a part of its time, and where each of several runs
    would keep the whole pace for itself.
    """
    if not spec.has_window and any(not shard.window.is_everything for shard in shards):
        raise ConfigurationError(
            f"source {spec.name} cannot be asked for a window, so each run would read all there is: set "
            "window.params in its spec where the API can, or leave start, end and window_hours out"
        )
    if spec.pace.shared_limit is None and min(max_parallel, len(shards)) > 1:
        raise ConfigurationError(
            f"source {spec.name}: {min(max_parallel, len(shards))} runs at once would multiply its "
            "pace: set pace.shared_limit in its spec, so that they share it, or max_parallel to 1"
        )

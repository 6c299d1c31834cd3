"""The fan-out over many warehouses: the shards, the groups that runs read, and their idempotency keys."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import TypeVar
from uuid import UUID, uuid5

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.window import Window
from sku_velocity.model.window_grid import WindowGrid
from sku_velocity.source.spec import SourceSpec

MAX_SHARDS = 10_000
AT_ONCE = 4  # warehouses that a run reads at the same time
RUN_SECONDS = 300.0  # a run's length, by which the default number of its warehouses is chosen
ASSUMED_SECONDS = 30.0  # to read a window, if none was read before

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """A time range of one warehouse."""

    warehouse: str
    window: Window

    def __str__(self) -> str:
        return f"{self.warehouse} {self.window}"


@dataclass(frozen=True)
class Group:
    """A time range of some warehouses: what one run reads."""

    warehouses: tuple[str, ...]
    window: Window

    def __str__(self) -> str:
        return f"{name_warehouses(self.warehouses)} {self.window}"

    @property
    def shards(self) -> list[Shard]:
        return [Shard(name, self.window) for name in self.warehouses]

    def key(self, fan_out: UUID) -> str:
        """Return the idempotency key of the group's run, the same for every attempt of the fan-out."""
        place = [*self.warehouses, self.window.start.isoformat(), self.window.end.isoformat()]
        return str(uuid5(fan_out, json.dumps(place)))


def name_warehouses(warehouses: Sequence[str]) -> str:
    """Return the name of a run of these warehouses: that of the first, and how many more there are."""
    first, *others = warehouses
    return f"{first} and {len(others)} more" if others else first


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


def plan_groups(shards: Sequence[Shard], size: int, started: Iterable[Group] = ()) -> list[Group]:
    """Group shards of the same window, at most `size` each. Groups that were started before come first."""
    place = {shard: at for at, shard in enumerate(shards)}
    groups = sorted(started, key=lambda group: place.get(group.shards[0], len(shards)))
    known = {shard for group in groups for shard in group.shards}
    rest = [shard for shard in shards if shard not in known]
    for window, alike in groupby(rest, key=attrgetter("window")):
        names = [shard.warehouse for shard in alike]
        groups += [Group(tuple(names[at : at + size]), window) for at in range(0, len(names), size)]
    return groups


def choose_group_size(shards: int, max_parallel: int, seconds: float | None) -> int:
    """Return how many warehouses a run reads, if reading one takes `seconds`; None: none was read before.

    As many as fit into `RUN_SECONDS`, but no more than leave every parallel run a part.
    """
    fit = int(RUN_SECONDS * AT_ONCE / max(ASSUMED_SECONDS if seconds is None else seconds, 0.1))
    return max(1, min(fit, -(-shards // max_parallel)))


async def for_each(queue: deque[T], at_once: int, work: Callable[[T], Awaitable[None]]) -> None:
    """Do some work for each item of a queue, in its order. The work may clear the queue."""

    async def run() -> None:
        while queue:
            await work(queue.popleft())

    async with asyncio.TaskGroup() as workers:
        for _ in range(min(at_once, len(queue))):
            workers.create_task(run())


def check_fan_out(spec: SourceSpec, groups: Sequence[Group], max_parallel: int) -> None:
    """Check that a source can be read by these runs, at most `max_parallel` in parallel.

    Raises ConfigurationError if its API has no window parameters, or if parallel runs would each use the
    whole pace.
    """
    if not spec.has_window and any(not group.window.is_everything for group in groups):
        raise ConfigurationError(
            f"source {spec.name} cannot be asked for a window, so each run would read everything: set "
            "window.params in its spec if the API supports it, or omit start, end and window_minutes"
        )
    if spec.pace.shared_limit is None and min(max_parallel, len(groups)) > 1:
        raise ConfigurationError(
            f"source {spec.name}: {min(max_parallel, len(groups))} parallel runs would multiply its pace: "
            "set pace.shared_limit in its spec so that they share it, or set max_parallel to 1"
        )

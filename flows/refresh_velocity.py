"""The refresh-velocity flow: compute, store, export and show each published warehouse's velocity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, cast

from prefect import flow, get_run_logger, runtime, task
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from blocks.slotting import find_engine
from blocks.store import find_store
from flows.runtime.connections import PushResources
from flows.runtime.ownership import REFRESH
from flows.runtime.retries import TASK_RETRY
from flows.tasks.refresh_velocity import DEFAULTS, REPORTS, push_classes, refresh_warehouse
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.calendar import zone_of
from sku_velocity.model.status import Place
from sku_velocity.model.velocity_report import VelocityReport
from sku_velocity.velocity.figures import Thresholds

Share = Annotated[float, Field(ge=0, le=1)]
Variation = Annotated[float, Field(ge=0)]
_refresh = task(task_run_name="refresh {warehouse} from {source}", **TASK_RETRY)(refresh_warehouse)


def run_name() -> str:
    """Return the name of a run in the UI."""
    return f"velocity as of {runtime.flow_run.parameters.get('as_of') or 'the day before'}"


@flow(name=REFRESH, flow_run_name=run_name, persist_result=False)
async def refresh_velocity(
    warehouses: list[str] | None = None,
    source: str | None = None,
    as_of: date | None = None,
    time_zone: str = "UTC",
    time_zones: dict[str, str] | None = None,
    store: str | None = None,
    reports: Annotated[str, Field(min_length=1)] = REPORTS,
    abc_a: Share = DEFAULTS.a,
    abc_b: Share = DEFAULTS.b,
    xyz_x: Variation = DEFAULTS.x,
    xyz_y: Variation = DEFAULTS.y,
    push: str | None = None,
) -> Any:
    """Compute units, lines, trend, ABC and XYZ classes of each SKU from the published movements.

    A warehouse that fails does not stop the others. A second run for the same day replaces the first.

    Args:
        warehouses: The warehouses to refresh. Omit for all that have published movements.
        source: The name of the source that they were read from. Omit for all sources.
        as_of: The last day to include. Omit for the day before the scheduled start, in each warehouse's zone.
        time_zone: The time zone of the warehouses that time_zones does not name, such as Europe/Berlin.
        time_zones: The time zone of each warehouse that differs from time_zone.
        store: A velocity-store block's name, or a URL without password. Omit for $SKU_VELOCITY_STORE.
        reports: The directory for the Parquet, CSV and HTML files, on the machine that runs the flow.
        abc_a: The cumulative share of lines, and of units, at which class A ends.
        abc_b: The cumulative share at which class B ends.
        xyz_x: The largest coefficient of variation of class X.
        xyz_y: The largest coefficient of variation of class Y.
        push: A slotting-engine block's name, or the path of an engine's file, to send changed classes to.
            Omit to send none.
    """
    thresholds = Thresholds(abc_a, abc_b, xyz_x, xyz_y)
    velocity_store = await find_store(store)
    target = PushResources(await find_engine(push), velocity_store) if push else None
    async with velocity_store.get_store() as opened:
        published = await opened.publications.warehouses()
        chosen = choose_warehouses(published, warehouses or [], source)
        zones = choose_zones(published, chosen, time_zone, time_zones or {})
        # One by one, so that memory holds only one warehouse.
        states: list[State[VelocityReport]] = []
        for name, warehouse in chosen:
            request = (opened, name, warehouse, as_of, zones[warehouse], thresholds, reports)
            states.append(await cast(Any, _refresh(*request, return_state=True)))
            if target and states[-1].is_completed():
                await push_classes(target, name, warehouse)
    return await final_state(chosen, states)


def choose_warehouses(
    published: Sequence[Place], warehouses: Sequence[str], source: str | None
) -> list[Place]:
    """Return the places to refresh. Raises ConfigurationError for an unpublished name."""
    chosen = [
        place
        for place in published
        if source in (None, place.source) and (not warehouses or place.warehouse in warehouses)
    ]
    missing = sorted(set(warehouses) - {place.warehouse for place in chosen})
    if missing or (source and not chosen):
        what = ", ".join(missing) or "any warehouse"
        names = ", ".join(sorted({place.warehouse for place in published}))
        raise ConfigurationError(
            f"nothing is published for {what}{f' from {source}' if source else ''}: correct the name, or "
            f"sync a window first; published: {names or 'none'}"
        )
    return chosen


def choose_zones(
    published: Sequence[Place],
    chosen: Sequence[Place],
    default: str,
    zones: Mapping[str, str],
) -> dict[str, str]:
    """Return each chosen warehouse's time zone. Log the names in `zones` that have nothing published."""
    for name in [default, *zones.values()]:
        zone_of(name)
    if unknown := sorted(set(zones) - {place.warehouse for place in published}):
        get_run_logger().warning("time_zones: nothing is published for %s", ", ".join(unknown))
    return {place.warehouse: zones.get(place.warehouse, default) for place in chosen}


async def final_state(
    chosen: Sequence[Place], states: Sequence[State[VelocityReport]]
) -> State[list[VelocityReport]]:
    """Return the run's final state: what was refreshed, and which warehouses failed and why."""
    reports = [await state.aresult() for state in states if state.is_completed()]
    failed = [
        f"{warehouse} from {source}: {state.message}"
        for (source, warehouse), state in zip(chosen, states, strict=True)
        if not state.is_completed()
    ]
    if failed:
        return Failed(
            message=f"{len(failed)} of {len(chosen)} warehouses failed: {' | '.join(failed)}", data=reports
        )
    if not chosen:
        return Completed(message="Nothing is published yet, so there is no velocity.", data=reports)
    incomplete = sum(bool(report.incomplete_days) for report in reports)
    return Completed(
        message=f"{len(reports)} of {len(chosen)} warehouses refreshed; {incomplete} of them have days "
        "that are not published whole.",
        data=reports,
    )

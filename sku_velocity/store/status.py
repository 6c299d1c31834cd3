"""The status of each warehouse, and the coverage of a span of time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import timedelta
from statistics import median
from typing import Any, cast

from sqlalchemy import ColumnElement, Row, ScalarSelect, Select, and_, case, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.chunk import ChunkState
from sku_velocity.model.dead_letter import DeadLetterState
from sku_velocity.model.publication import Cause
from sku_velocity.model.run import OPEN, MasterVersion, RunState, RunStatus, Verdict
from sku_velocity.model.status import (
    Archived,
    Coverage,
    Freshness,
    LastRun,
    OpenRun,
    Place,
    PublishedRange,
    Revisions,
    SkuMapping,
    SkuMappingPolicy,
    WarehouseStatus,
)
from sku_velocity.model.window import Window
from sku_velocity.store.database import Repository
from sku_velocity.store.run_rows import overlapping, to_grid, to_origin
from sku_velocity.store.tables import (
    chunks,
    dead_letters,
    movements,
    publications,
    published_ranges,
    publishing_locks,
    rechecks,
    sync_runs,
)

IDS_PER_STATEMENT = 500  # SQLite binds at most 999 values
RECENT_RUNS = 200


class Status(Repository):
    """The status of warehouses and of runs."""

    async def of_warehouses(
        self, source: str | None = None, warehouse: str | None = None
    ) -> list[WarehouseStatus]:
        """Return the status of each warehouse that has a run, or only of those asked for, in order."""
        async with self.database.reading() as connection:
            last = await _read_last_runs(connection, source, warehouse)
            published = await _read_published(connection, _at(published_ranges, source, warehouse))
            open_runs = await _read_open_runs(connection, _at(sync_runs, source, warehouse))
            rows = await _count(connection, _loaded_by_whole_runs(), source, warehouse)
            cut = await _count(connection, _published_by_cut_runs(), source, warehouse)
            rejects = await _count(connection, _rejected(), source, warehouse)
            newest = [ranges[-1].run_key for ranges in published.values()]
            created_at = await _read_created_at(connection, newest)
            rechecked_at = await _read_rechecked_at(connection, source, warehouse)
            revisions = await _count_revisions(connection, source, warehouse)
            archived = await _read_archived(connection, source, warehouse)
        return [
            WarehouseStatus(
                coverage=_coverage(place, published[place], open_runs[place]),
                last_run=run,
                rows=rows.get(place, 0) + cut.get(place, 0),
                rejects=rejects.get(place, 0),
                read_at=created_at[published[place][-1].run_key] if published[place] else None,
                rechecked_at=rechecked_at.get(place),
                revisions=revisions.get(place, Revisions()),
                archived=archived.get(place),
            )
            for place, run in sorted(last.items())
        ]

    async def freshness(self, source: str, warehouses: Collection[str] | None = None) -> list[Freshness]:
        """Return how far warehouses of a source, by default all, are published. Others have no entry."""
        # publishing_locks has a row per published warehouse, so one index read for each is enough.
        ranges, places = published_ranges.c, publishing_locks.c
        newest = (
            select(func.max(ranges.range_start))
            .where(ranges.source == places.source, ranges.warehouse_id == places.warehouse_id)
            .correlate(publishing_locks)
            .scalar_subquery()
        )
        is_newest = and_(
            ranges.source == places.source,
            ranges.warehouse_id == places.warehouse_id,
            ranges.range_start == newest,
        )
        statement = _published().join(publishing_locks, is_newest).where(places.source == source)
        async with self.database.reading() as connection:
            rows = await connection.execute(statement.order_by(places.warehouse_id))
            found = [Freshness(*_place_of(row), _to_published_range(row), row.created_at) for row in rows]
        return [each for each in found if warehouses is None or each.warehouse in warehouses]

    async def coverage(self, source: str, warehouse: str, span: Window) -> Coverage:
        """Return the published ranges and the open runs of a warehouse in a span of time."""
        runs = sync_runs.c
        overlaps = and_(runs.window_start < span.end, runs.window_end > span.start)
        async with self.database.reading() as connection:
            published = await _read_published(connection, overlapping(source, warehouse, span))
            open_runs = await _read_open_runs(connection, _at(sync_runs, source, warehouse) & overlaps)
        place = Place(source, warehouse)
        return _coverage(place, published[place], open_runs[place])

    async def of_runs(self, run_ids: Sequence[str]) -> dict[str, RunStatus]:
        """Return the status of each of these runs that is in the store."""
        found: dict[str, RunStatus] = {}
        async with self.database.reading() as connection:
            for first in range(0, len(run_ids), IDS_PER_STATEMENT):
                rows = await connection.execute(_statement(run_ids[first : first + IDS_PER_STATEMENT]))
                found |= {row.run_id: _to_run_status(row) for row in rows}
        return found

    async def typical_seconds(self, source: str, length: timedelta) -> float | None:
        """Return the median duration of the latest windows of about this length; None if there are none.

        The duration is from a window's plan to its publication, in seconds.
        """
        runs = sync_runs.c
        latest = (
            select(runs.created_at, runs.finished_at, runs.window_start, runs.window_end)
            .where(runs.source == source, runs.state.not_in(OPEN), runs.finished_at.is_not(None))
            .order_by(runs.run_key.desc())
            .limit(RECENT_RUNS)
        )
        async with self.database.reading() as connection:
            rows = (await connection.execute(latest)).all()
        seconds = [
            (row.finished_at - row.created_at).total_seconds()
            for row in rows
            if length / 2 <= row.window_end - row.window_start <= 2 * length
        ]
        return median(seconds) if seconds else None


def _coverage(place: Place, published: list[PublishedRange], open_runs: Sequence[OpenRun]) -> Coverage:
    return Coverage(*place, published, [run for run in open_runs if not run.is_settled_by(published)])


def _place_of(row: Row[Any]) -> Place:
    return Place(row.source, row.warehouse_id)


def _of_run(table: Any) -> ColumnElement[bool]:
    return cast(ColumnElement[bool], table.c.run_key == sync_runs.c.run_key)


def _in_one_piece() -> ColumnElement[bool]:
    ranges, runs = published_ranges.c, sync_runs.c
    return and_(ranges.range_start == runs.window_start, ranges.range_end == runs.window_end)


def _at(table: Any, source: str | None, warehouse: str | None) -> ColumnElement[bool]:
    """Return the condition for rows of this source and this warehouse; None matches any."""
    criteria = {"source": source, "warehouse_id": warehouse}
    return and_(true(), *(table.c[name] == value for name, value in criteria.items() if value is not None))


async def _read_last_runs(
    connection: AsyncConnection, source: str | None, warehouse: str | None
) -> dict[Place, LastRun]:
    runs = sync_runs.c
    newest = (
        select(func.max(runs.run_key))
        .where(_at(sync_runs, source, warehouse))
        .group_by(runs.source, runs.warehouse_id)
    )
    rows = await connection.execute(select(sync_runs).where(runs.run_key.in_(newest)))
    return {_place_of(row): _to_last_run(row) for row in rows}


def _to_last_run(row: Row[Any]) -> LastRun:
    window = Window(row.window_start, row.window_end)
    verdict = Verdict(row.verdict) if row.verdict else None
    return LastRun(
        row.run_id,
        window,
        RunState(row.state),
        verdict,
        row.created_at,
        _to_policy(row.master),
        row.mapping_digest,
        to_origin(row),
        json.loads(row.report or "{}"),
    )


def _to_policy(text: str | None) -> SkuMappingPolicy:
    if text is None:
        return None
    master = MasterVersion.model_validate_json(text)
    return SkuMapping(master.source, master.unknown_sku)


async def _read_published(
    connection: AsyncConnection, condition: ColumnElement[bool]
) -> defaultdict[Place, list[PublishedRange]]:
    ranges = published_ranges.c
    found: defaultdict[Place, list[PublishedRange]] = defaultdict(list)
    for row in await connection.execute(_published().where(condition).order_by(ranges.range_start)):
        found[_place_of(row)].append(_to_published_range(row))
    return found


def _published() -> Select[Any]:
    runs = sync_runs.c
    of_run = (
        runs.mapping_digest,
        runs.verdict,
        runs.window_minutes,
        runs.window_zone,
        runs.created_at,
        runs.archived_at,
    )
    return select(published_ranges, *of_run).join(sync_runs)


def _to_published_range(row: Row[Any]) -> PublishedRange:
    window, is_unproven = Window(row.range_start, row.range_end), row.verdict == Verdict.UNPROVEN
    is_archived = row.archived_at is not None
    return PublishedRange(window, row.run_key, row.mapping_digest, is_unproven, to_grid(row), is_archived)


async def _read_open_runs(
    connection: AsyncConnection, condition: ColumnElement[bool]
) -> defaultdict[Place, list[OpenRun]]:
    """Return runs that are not published, in the order in which they were planned."""
    landed = case((chunks.c.state == ChunkState.LANDED, 1), else_=0)
    statement = (
        select(
            sync_runs,
            func.count(chunks.c.run_key).label("chunks"),
            func.coalesce(func.sum(landed), 0).label("landed"),
            func.max(chunks.c.landed_at).label("landed_at"),
            _first_error().label("error"),
        )
        .outerjoin(chunks, _of_run(chunks))
        .where(sync_runs.c.state.in_(OPEN), condition)
        .group_by(sync_runs.c.run_key)
        .order_by(sync_runs.c.run_key)
    )
    found: defaultdict[Place, list[OpenRun]] = defaultdict(list)
    for row in await connection.execute(statement):
        found[_place_of(row)].append(_to_open_run(row))
    return found


def _first_error() -> ScalarSelect[Any]:
    """Return the error of a run's first failed chunk."""
    failed = chunks.alias()
    return (
        select(failed.c.error)
        .where(_of_run(failed), failed.c.error.is_not(None))
        .order_by(failed.c.chunk_index)
        .limit(1)
        .scalar_subquery()
    )


def _broken_checks(row: Row[Any]) -> tuple[tuple[str, str], ...]:
    checks = json.loads(row.report or "{}").get("checks", [])
    return tuple((check["name"], check["detail"]) for check in checks if check["passed"] is False)


def _to_open_run(row: Row[Any]) -> OpenRun:
    return OpenRun(
        key=row.run_key,
        id=row.run_id,
        window=Window(row.window_start, row.window_end),
        state=RunState(row.state),
        active_at=row.landed_at or row.created_at,
        chunks=row.chunks,
        landed=row.landed,
        error=row.error,
        broken=_broken_checks(row),
        mapping=_to_policy(row.master),
        grid=to_grid(row),
    )


async def _count(
    connection: AsyncConnection, statement: Select[Any], source: str | None, warehouse: str | None
) -> dict[Place, int]:
    """Run a count by source and warehouse."""
    grouped = statement.where(_at(sync_runs, source, warehouse))
    rows = await connection.execute(grouped.group_by(sync_runs.c.source, sync_runs.c.warehouse_id))
    return {_place_of(row): int(row.number) for row in rows}


def _loaded_by_whole_runs() -> Select[Any]:
    """Count the rows of runs that are published in one piece, from the ledger."""
    loaded = func.coalesce(func.sum(chunks.c.loaded), 0)
    return (
        _per_place(loaded)
        .join(chunks, _of_run(chunks))
        .join(published_ranges, _of_run(published_ranges))
        .where(_in_one_piece(), sync_runs.c.archived_at.is_(None))
    )


def _published_by_cut_runs() -> Select[Any]:
    """Count the rows of runs that others have cut, in the ranges that are still published."""
    moved_at = movements.c.timestamp_utc
    is_published = and_(moved_at >= published_ranges.c.range_start, moved_at < published_ranges.c.range_end)
    per_place = (
        _per_place(func.count())
        .join(published_ranges, _of_run(published_ranges))
        .where(~_in_one_piece(), sync_runs.c.archived_at.is_(None))
    )
    return per_place.join(movements, _of_run(movements) & is_published)


def _rejected() -> Select[Any]:
    """Count the open rejects of published runs: a reject may have no time, so a cut excludes none."""
    per_place = _per_place(func.count()).where(
        sync_runs.c.state == RunState.PUBLISHED, dead_letters.c.state == DeadLetterState.OPEN
    )
    return per_place.join(dead_letters, _of_run(dead_letters))


def _per_place(count: ColumnElement[int]) -> Select[Any]:
    return select(sync_runs.c.source, sync_runs.c.warehouse_id, count.label("number")).select_from(sync_runs)


async def _read_created_at(connection: AsyncConnection, keys: Sequence[int]) -> dict[int, Any]:
    runs = sync_runs.c
    rows = await connection.execute(select(runs.run_key, runs.created_at).where(runs.run_key.in_(keys)))
    return {row.run_key: row.created_at for row in rows}


async def _read_rechecked_at(
    connection: AsyncConnection, source: str | None, warehouse: str | None
) -> dict[Place, Any]:
    rows = await connection.execute(select(rechecks).where(_at(rechecks, source, warehouse)))
    return {_place_of(row): row.rechecked_at for row in rows}


async def _read_archived(
    connection: AsyncConnection, source: str | None, warehouse: str | None
) -> dict[Place, Archived]:
    runs, until = sync_runs.c, func.max(sync_runs.c.window_end)
    statement: Select[Any] = (
        select(
            runs.source,
            runs.warehouse_id,
            runs.archived_to,
            func.sum(runs.archived_rows).label("rows"),
            until.label("until"),
        )
        .where(_at(sync_runs, source, warehouse), runs.archived_at.is_not(None))
        .group_by(runs.source, runs.warehouse_id, runs.archived_to)
        .order_by(until)
    )
    found: dict[Place, Archived] = {}
    for row in await connection.execute(statement):
        earlier = found.get(_place_of(row))
        total = int(row.rows) + (earlier.rows if earlier else 0)
        found[_place_of(row)] = Archived(total, row.archived_to, row.until)
    return found


async def _count_revisions(
    connection: AsyncConnection, source: str | None, warehouse: str | None
) -> dict[Place, Revisions]:
    columns = publications.c
    replaced = (columns.added, columns.changed, columns.removed)
    statement = (
        select(
            columns.source,
            columns.warehouse_id,
            func.count().label("windows"),
            *(func.coalesce(func.sum(column), 0).label(column.name) for column in replaced),
        )
        .where(
            _at(publications, source, warehouse),
            columns.cause == Cause.REVISION,
            or_(*(column > 0 for column in replaced)),
        )
        .group_by(columns.source, columns.warehouse_id)
    )
    return {
        _place_of(row): Revisions(row.windows, int(row.added), int(row.changed), int(row.removed))
        for row in await connection.execute(statement)
    }


def _statement(run_ids: Sequence[str]) -> Select[Any]:
    runs = sync_runs.c
    loaded, rejected = (
        func.coalesce(func.sum(chunks.c[name]), 0).label(name) for name in ("loaded", "rejected")
    )
    return (
        select(
            runs.run_id,
            runs.state,
            runs.verdict,
            runs.report,
            loaded,
            rejected,
            _first_error().label("error"),
        )
        .outerjoin(chunks, chunks.c.run_key == runs.run_key)
        .where(runs.run_id.in_(run_ids))
        .group_by(runs.run_key)
    )


def _to_run_status(row: Row[Any]) -> RunStatus:
    verdict = Verdict(row.verdict) if row.verdict else None
    reason = row.error or "; ".join(f"{name}: {found}" for name, found in _broken_checks(row)) or None
    return RunStatus(row.run_id, RunState(row.state), verdict, int(row.loaded), int(row.rejected), reason)

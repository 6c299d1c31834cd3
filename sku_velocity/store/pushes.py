"""The push ledger: the parts of a published run that each slotting engine has been sent, by batch."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import and_, exists, select

from sku_velocity.model.chunk import Chunk
from sku_velocity.model.movement import DeadLetter
from sku_velocity.model.publication import Cause
from sku_velocity.model.push import ChunkPush, OpenBatch, PushKind, PushState
from sku_velocity.model.run import SyncRun
from sku_velocity.store import push_rows
from sku_velocity.store.database import Repository, lock
from sku_velocity.store.publication_rows import find_publication
from sku_velocity.store.run_rows import get_run, to_run
from sku_velocity.store.tables import chunks, publications, pushes, revised_engines, sync_runs


class Pushes(Repository):
    """The progress of pushing published chunks to the engines.

    A batch is stored before it is sent for the first time, and is sent again unchanged until it has been
    answered, or certainly refused. So an engine sees what it may have accepted again under the same key, and
    accepts nothing under two, even if ranges are cut or the batch size changes meanwhile. The exception is a
    batch that got no answer and was refused when it was sent again: a smaller batch size cuts it.
    """

    async def unpushed(self, run_id: str, engine: str) -> list[Chunk]:
        """Return the parts of a run whose rows have not all been answered, as chunks by index.

        The first has the index `REMOVALS` if the run replaced what the engine may have. Of a run that the
        engine is sent as corrections, only chunks with revised rows are returned.
        """
        parts = push_rows.pending_parts(engine, sync_runs.c.run_id == run_id)
        async with self.database.reading() as connection:
            rows = await connection.execute(parts)
            return sorted((push_rows.to_chunk(row) for row in rows), key=lambda chunk: chunk.index)

    async def kind(self, run_id: str, engine: str, spec_changes: bool) -> PushKind:
        """Return what of a published run an engine is sent; with `spec_changes` also what the spec changed.

        A push that was begun is not withheld.
        """
        async with self.database.reading() as connection:
            publication = await find_publication(connection, run_id)
            if publication is None or publication.cause is Cause.FIRST:
                return PushKind.FIRST
            key = (await get_run(connection, run_id)).key
            found = select(revised_engines.c.is_complete).where(
                revised_engines.c.run_key == key, revised_engines.c.engine == engine
            )
            is_complete = (await connection.execute(found)).scalar_one_or_none()
            begun = select(exists().where(pushes.c.run_key == key, pushes.c.engine == engine))
            is_begun = (await connection.execute(begun)).scalar_one()
        is_withheld = publication.cause is Cause.SPEC and not spec_changes and not is_begun
        if is_withheld and is_complete is not None:
            return PushKind.WITHHELD
        return PushKind.CORRECTIONS if is_complete else PushKind.REPLACEMENT

    async def unanswered(self, run_id: str, engine: str) -> list[tuple[SyncRun, Chunk]]:
        """Return the parts of earlier runs of a run's window whose open batch the engine may have accepted.

        They must be answered before the run is pushed, or a late one would undo it. A batch that is cut after
        this call contains nothing that the run replaced.
        """
        own, others = publications.alias(), publications.c
        earlier = (
            select(others.run_id)
            .join(own, own.c.run_id == run_id)
            .where(
                own.c.cause != Cause.REPLAY,
                others.source == own.c.source,
                others.warehouse_id == own.c.warehouse_id,
                others.range_start < own.c.range_end,
                others.range_end > own.c.range_start,
                others.publication < own.c.publication,
            )
        )
        async with self.database.writing() as connection:
            begun = await connection.execute(
                select(sync_runs, pushes.c.chunk_index, pushes.c.until_position, *push_rows.place_columns())
                .join(pushes, pushes.c.run_key == sync_runs.c.run_key)
                .outerjoin(
                    chunks,
                    and_(chunks.c.run_key == pushes.c.run_key, chunks.c.chunk_index == pushes.c.chunk_index),
                )
                .where(pushes.c.engine == engine, sync_runs.c.run_id.in_(earlier))
                .order_by(pushes.c.run_key, pushes.c.chunk_index)
                .with_for_update(of=pushes)  # waits for batches that are being cut
            )
            return [
                (to_run(row).run, push_rows.to_chunk(row)) for row in begun if row.until_position is not None
            ]

    async def begin(self, run_id: str, index: int, engine: str) -> None:
        """Count an attempt at a chunk.

        Raises IncompleteWindowError if its run was never published, and ConfigurationError if it is archived.
        """
        async with self.database.writing() as connection:
            key = await push_rows.get_published_run(connection, run_id)
            await lock(connection, "push", run_id, str(index), engine)
            row = await push_rows.find_push(connection, run_id, index, engine)
            if row is None:
                await push_rows.insert_push(connection, key, index, engine)
            elif row.state != PushState.PUSHED:
                await push_rows.write_push(
                    connection, row, state=PushState.BEGUN, attempts=row.attempts + 1, error=None
                )

    async def next_batch(
        self, run_id: str, index: int, engine: str, size: int, fields: Sequence[str] = ()
    ) -> OpenBatch | None:
        """Return the unanswered batch, or a new one of the next `size` published rows, with these details.

        If nothing is left, mark the chunk as pushed and return None. An unanswered batch that was refused is
        cut to its first `size` rows, under another key.
        """
        async with self.database.writing() as connection:
            row = await push_rows.get_push(connection, run_id, index, engine)
            push_rows.check_not_archived(run_id, row.archived_to)
            if row.until_position is not None:
                ranges, sent = push_rows.parse_ranges(row.visible_ranges), json.loads(row.movement_fields)
                rows = await push_rows.read_rows(connection, row, row.until_position, ranges)
                if not row.is_refused or len(rows) <= size:
                    return push_rows.open_batch(row, rows, ranges, sent, is_new=False)
                rows = rows[:size]
            else:
                ranges = await push_rows.read_visible_ranges(connection, row.run_key)
                rows = await push_rows.read_rows(connection, row, row.end, ranges, size)
            if not rows:
                await push_rows.write_push(connection, row, state=PushState.PUSHED, next_position=row.end)
                return None
            opened = push_rows.open_batch(row, rows, ranges, fields, is_new=True)
            await push_rows.write_push(
                connection,
                row,
                until_position=rows[-1].position + 1,
                visible_ranges=push_rows.format_ranges(ranges),
                movement_fields=json.dumps(fields),
                idempotency_key=opened.batch.key,
                is_refused=False,
            )
            return opened

    async def settle(
        self,
        run_id: str,
        index: int,
        engine: str,
        opened: OpenBatch,
        letters: Sequence[DeadLetter],
        requests: int = 1,
    ) -> None:
        """Store the answer to a batch; `letters` are the records that the engine rejected.

        Does nothing if the answer is stored already: another worker was faster.
        """
        async with self.database.writing() as connection:
            row = await push_rows.get_push(connection, run_id, index, engine)
            if not push_rows.is_pending(row, opened):
                return
            await push_rows.store_rejects(connection, row.run_key, opened, letters)
            await push_rows.write_push(
                connection,
                row,
                next_position=opened.rows[-1].position + 1,
                batches=row.batches + 1,
                until_position=None,
                visible_ranges=None,
                is_refused=False,
                accepted=row.accepted + len(opened.rows) - len(letters),
                rejected=row.rejected + len(letters),
                requests=row.requests + requests,
            )

    async def withdraw(self, run_id: str, index: int, engine: str, opened: OpenBatch) -> None:
        """Drop a batch that the engine did not accept: the next is cut from published rows.

        Does nothing if another attempt at the chunk has begun since: it may have sent the batch, too.
        """
        async with self.database.writing() as connection:
            row = await push_rows.get_push(connection, run_id, index, engine)
            if push_rows.is_pending(row, opened) and row.attempts == opened.attempt:
                await push_rows.write_push(connection, row, until_position=None, visible_ranges=None)

    async def mark_refused(self, run_id: str, index: int, engine: str, opened: OpenBatch) -> None:
        """Mark a batch that the engine refused, but may have accepted in an attempt that got no answer."""
        async with self.database.writing() as connection:
            row = await push_rows.get_push(connection, run_id, index, engine)
            if push_rows.is_pending(row, opened):
                await push_rows.write_push(connection, row, is_refused=True)

    async def fail(self, run_id: str, index: int, engine: str, error: str) -> None:
        """Mark a chunk's push as failed, with the error, unless all of it has been answered."""
        async with self.database.writing() as connection:
            row = await push_rows.find_push(connection, run_id, index, engine)
            if row and row.state != PushState.PUSHED:
                await push_rows.write_push(connection, row, state=PushState.FAILED, error=error)

    async def read(self, run_id: str, engine: str) -> list[ChunkPush]:
        """Return the push progress of each chunk of a run that was begun, by index."""
        async with self.database.reading() as connection:
            run = await get_run(connection, run_id)
            rows = await connection.execute(
                select(pushes)
                .where(pushes.c.run_key == run.key, pushes.c.engine == engine)
                .order_by(pushes.c.chunk_index)
            )
            return [push_rows.to_push(row) for row in rows]

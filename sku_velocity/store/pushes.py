"""The push ledger: what of a published run each slotting engine has been sent, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from sku_velocity.model.chunk import Chunk
from sku_velocity.model.movement import DeadLetter
from sku_velocity.model.push import ChunkPush, OpenBatch, PushState
from sku_velocity.store import push_rows as pushing
from sku_velocity.store.chunks import get_run
from sku_velocity.store.database import Database, lock
from sku_velocity.store.tables import chunks, pushes, sync_runs


class PushLedger:
    """What is known of the way of published chunks to the engines: each method is one transaction.

    A batch is written down before it is sent for the first time, and is sent again as it was until it has
    been answered, or refused for certain. So what an engine may have taken it sees again under the same key,
    and takes nothing under two, though ranges are cut or the batch size changes meanwhile. Raises what
    `Store` raises.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unpushed(self, flow_run_id: str, engine: str) -> list[Chunk]:
        """The chunks of a run with rows that have not all been answered, by index."""
        async with self._database.reading() as connection:
            pushed = select(pushes.c.chunk_index).where(
                pushes.c.run_key == sync_runs.c.run_key,
                pushes.c.engine == engine,
                pushes.c.state == PushState.PUSHED,
            )
            rows = await connection.execute(
                select(chunks)
                .join(sync_runs)
                .where(
                    sync_runs.c.flow_run_id == flow_run_id,
                    chunks.c.loaded > 0,
                    chunks.c.chunk_index.not_in(pushed),
                )
                .order_by(chunks.c.chunk_index)
            )
            return [Chunk(r.chunk_index, r.start_offset, r.size, r.page_size, r.overlap) for r in rows]

    async def begin(self, flow_run_id: str, index: int, engine: str) -> None:
        """Count an attempt at a chunk. Raises IncompleteWindowError where its run was never published."""
        async with self._database.writing() as connection:
            key = await pushing.get_published_run(connection, flow_run_id)
            await lock(connection, "push", flow_run_id, str(index), engine)
            row = await pushing.find_push(connection, flow_run_id, index, engine)
            if row is None:
                await pushing.enter_push(connection, key, index, engine)
            elif row.state != PushState.PUSHED:
                await pushing.write_push(
                    connection, row, state=PushState.BEGUN, attempts=row.attempts + 1, error=None
                )

    async def next_batch(self, flow_run_id: str, index: int, engine: str, size: int) -> OpenBatch | None:
        """The batch that still waits for its answer, or the next `size` rows of what shows now.

        None, and the chunk is pushed, where nothing is left.
        """
        async with self._database.writing() as connection:
            row = await pushing.get_push(connection, flow_run_id, index, engine)
            if row.until_position is not None:
                ranges = pushing.parse_ranges(row.visible_ranges)
                rows = await pushing.read_rows(connection, row, row.until_position, ranges)
                return pushing.open_batch(row, rows, is_new=False)
            ranges, end = (
                await pushing.read_visible_ranges(connection, row.run_key),
                row.start_offset + row.size,
            )
            rows = await pushing.read_rows(connection, row, end, ranges, size)
            if not rows:
                await pushing.write_push(connection, row, state=PushState.PUSHED, next_position=end)
                return None
            opened = pushing.open_batch(row, rows, is_new=True)
            await pushing.write_push(
                connection,
                row,
                until_position=rows[-1][0] + 1,
                visible_ranges=pushing.write_ranges(ranges),
                idempotency_key=opened.batch.key,
            )
            return opened

    async def settle(
        self,
        flow_run_id: str,
        index: int,
        engine: str,
        opened: OpenBatch,
        letters: Sequence[DeadLetter],
        requests: int = 1,
    ) -> None:
        """Enter that a batch was answered; `letters` are the records that the engine rejected.

        Nothing changes where that has been entered already: another worker was faster.
        """
        async with self._database.writing() as connection:
            row = await pushing.get_push(connection, flow_run_id, index, engine)
            if not pushing.waits_for(row, opened):
                return
            await pushing.keep_rejects(connection, row.run_key, opened, letters)
            await pushing.write_push(
                connection,
                row,
                next_position=opened.rows[-1][0] + 1,
                batches=row.batches + 1,
                until_position=None,
                visible_ranges=None,
                accepted=row.accepted + len(opened.rows) - len(letters),
                rejected=row.rejected + len(letters),
                requests=row.requests + requests,
            )

    async def withdraw(self, flow_run_id: str, index: int, engine: str, opened: OpenBatch) -> None:
        """Enter that the engine took nothing of a batch for certain: the next one is cut from what shows."""
        async with self._database.writing() as connection:
            row = await pushing.get_push(connection, flow_run_id, index, engine)
            if pushing.waits_for(row, opened):
                await pushing.write_push(connection, row, until_position=None, visible_ranges=None)

    async def fail(self, flow_run_id: str, index: int, engine: str, error: str) -> None:
        """Enter that a chunk's push failed, and why, unless all of it has been answered."""
        async with self._database.writing() as connection:
            row = await pushing.find_push(connection, flow_run_id, index, engine)
            if row and row.state != PushState.PUSHED:
                await pushing.write_push(connection, row, state=PushState.FAILED, error=error)

    async def read(self, flow_run_id: str, engine: str) -> list[ChunkPush]:
        """How far each chunk of a run is that was set about, by index."""
        async with self._database.reading() as connection:
            run = await get_run(connection, flow_run_id)
            rows = await connection.execute(
                select(pushes)
                .where(pushes.c.run_key == run.key, pushes.c.engine == engine)
                .order_by(pushes.c.chunk_index)
            )
            return [pushing.to_push(row) for row in rows]

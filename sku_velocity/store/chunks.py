"""The chunks of each run's plan: their progress, and the pages that land in them."""

from __future__ import annotations

from sqlalchemy import Connection, select

from sku_velocity.errors import RequestCost, VelocityError
from sku_velocity.model.chunk import ChunkProgress, PageResult
from sku_velocity.store.chunk_rows import (
    CHUNK,
    after_failure,
    after_page,
    append_chunks,
    chunk_after,
    find_chunk,
    is_next,
    lock_chunk,
    to_progress,
    write_chunk,
)
from sku_velocity.store.database import Repository
from sku_velocity.store.page_rows import insert_page
from sku_velocity.store.tables import chunks, sync_runs


class Chunks(Repository):
    """The ledger of the chunks of all runs."""

    async def of(self, run_id: str) -> list[ChunkProgress]:
        """Return a run's ledger, by chunk index."""
        found = select(chunks).join(sync_runs).where(sync_runs.c.run_id == run_id)
        async with self.database.reading() as connection:
            rows = await connection.execute(found.order_by(chunks.c.chunk_index))
            return [to_progress(row) for row in rows]

    async def progress(self, run_id: str, index: int) -> ChunkProgress:
        """Return a chunk's row of the ledger: `next_offset` is where to resume."""
        async with self.database.reading() as connection:
            return to_progress(await connection.run_sync(find_chunk, CHUNK, run_id, index))

    async def land_page(
        self,
        run_id: str,
        index: int,
        result: PageResult,
        mapping_digest: str | None = None,
        repairs: int | None = None,
    ) -> ChunkProgress:
        """Store a page's rows and dead letters, and advance its chunk. Return the chunk's row.

        A page that is not the chunk's next one changes nothing: another worker was faster, it is read for
        the second time, or the window was planned again meanwhile, with another page size. If pages come by
        cursor and one fills its chunk, the next chunk is inserted too. Raises IncompleteWindowError if the
        run is no longer read by the spec with this digest, or by the plan after this number of repairs.
        """

        def land(connection: Connection) -> ChunkProgress:
            key, progress = lock_chunk(connection, run_id, index, mapping_digest, repairs)
            if not is_next(progress, result):
                return progress
            insert_page(connection, key, result)
            advanced = after_page(progress, result)
            write_chunk(connection, key, advanced)
            if following := chunk_after(advanced, result, progress.chunk.size):
                append_chunks(connection, key, [following], result.next_cursor)
            return advanced

        return await self.database.write(land)

    async def fail(self, run_id: str, index: int, error: str, cost: RequestCost = VelocityError.cost) -> None:
        """Mark a chunk as failed, with the error and what it cost, unless it has landed."""

        def mark(connection: Connection) -> None:
            key, progress = lock_chunk(connection, run_id, index)
            write_chunk(connection, key, after_failure(progress, error, cost))

        await self.database.write(mark)

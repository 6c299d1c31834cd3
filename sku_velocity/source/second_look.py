"""A second look at a published window: its count, its first and its last page, and what has changed since."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sku_velocity.model.chunk import ChunkProgress, Page, PageResult
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.final_check import seen_page
from sku_velocity.source.pages import FetchedPage, Pages
from sku_velocity.source.paginators import Sequential
from sku_velocity.source.requests import Requests
from sku_velocity.source.validation import PageReader, RawPage

MOST_READINGS = 3  # of a list of changes that may move while it is read


@dataclass(frozen=True)
class SecondLook:
    """What a window holds now: its ends as validated pages, and how its number of records differs."""

    pages: Sequence[PageResult]
    difference: str | None = None


@dataclass(frozen=True)
class SecondReader:
    """Looks at a window again, with as few requests as its paging style allows.

    `count` returns the number of records that the source reports with a page, or None. All methods raise
    what `SourceClient.fetch` raises.
    """

    pages: Pages[RawPage]
    reader: PageReader
    count: Callable[[FetchedPage[RawPage]], Coroutine[Any, Any, int | None]]

    async def look(self, chunks: Sequence[ChunkProgress]) -> SecondLook:
        """Count a window, and read its first and its last page by the plan that it was read by.

        If the source pages by cursor or link, only the first page is read: the cursors of the others may not
        be usable twice.
        """
        before = sum(progress.fetched for progress in chunks)
        if isinstance(self.pages.paginator, Sequential):
            return await self._look_at_the_first_page(before)
        if not chunks:
            response = await self.pages.at(0, self.pages.paginator.spec.paging.effective_page_size)
            counted = await self.count(response)
            return SecondLook([], _differ(before, max(counted or 0, len(response.content.records))))
        first = next(chunks[0].chunk.pages())
        *_, last = chunks[-1].chunk.pages()
        results = []
        for page in dict.fromkeys((first, last)):
            response = await self.pages.at(page.offset - page.before, page.before + _size(page))
            results.append(self.reader.validate(response.content.cut(page.before, page.size), page))
        received = last.offset - last.before + len(response.content.records)
        counted = await self.count(response)
        if counted is None and last.size == _size(last) and received == last.end:
            received += await self._count_beyond(last, response.content)
        now = received if counted is None or received != last.end else counted
        return SecondLook(results, _differ(before, now))

    async def _look_at_the_first_page(self, before: int) -> SecondLook:
        response = await self.pages.after(None)
        received = len(response.content.records)
        result = self.reader.validate(response.content, Page(0, received))
        counted = await self.count(response)
        if counted is not None:
            return SecondLook([result], _differ(before, counted))
        if response.following is None:
            return SecondLook([result], _differ(before, received))
        more = f"more than {received} records, {before} before" if received >= before else None
        return SecondLook([result], more)

    async def _count_beyond(self, last: Page, content: RawPage) -> int:
        """Count the records on the page after the last one, which some APIs repeat there."""
        beyond = (await self.pages.at(last.end, _size(last))).content
        is_repeated = seen_page(self.reader, beyond) == seen_page(self.reader, content)
        return 0 if is_repeated else len(beyond.records)


def _size(page: Page) -> int:
    return page.page_size or page.size


def _differ(before: int, now: int) -> str | None:
    return None if before == now else f"{now} records, {before} before"


@dataclass(frozen=True)
class ChangedRecords:
    """The instants of the records that a source reports as changed, and how many have no valid time."""

    instants: frozenset[datetime]
    unplaced: int


async def read_changes(client: SourceClient, warehouse: str, span: Window, since: datetime) -> ChangedRecords:
    """Read which records of a warehouse were added or changed since an instant, within a span of time.

    The list is read again if it has several pages, until no record is new: one that leaves it meanwhile may
    hide another. Raises what `SourceClient.fetch` raises, and SourceMappingError if the list has no end.
    """
    reader = PageReader(client.spec, warehouse, span)
    instants: set[datetime] = set()
    unplaced = 0
    for _ in range(MOST_READINGS):
        pages = Pages(client, Requests(client.spec, warehouse, span, since), reader.read)
        found = [reader.instants(page) async for page in pages.all() if page.records]
        placed = {instant.astimezone(UTC) for page in found for instant in page if instant}
        unplaced = max(unplaced, sum(page.count(None) for page in found))
        is_known = placed <= instants
        instants |= placed
        if is_known or len(found) <= 1:
            break
    return ChangedRecords(frozenset(instants), unplaced)

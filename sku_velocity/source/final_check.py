"""The final check of a window: once all chunks have landed, the source is counted and read again in part."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, pairwise, takewhile
from typing import Any, TypeVar

from sku_velocity.errors import SourceMappingError
from sku_velocity.model.chunk import ChunkProgress, Page, PageEdges
from sku_velocity.model.run import FinalCheck, PageJoins, SyncRun
from sku_velocity.source.pages import FetchedPage, Pages
from sku_velocity.source.paginators import Offset, PageNumber, Positional, Sequential
from sku_velocity.source.paging import SeenPage
from sku_velocity.source.validation import PageReader, RawPage

MAX_SEAM_PAGES = 200  # unless the spec asks for them
PROOFS = {
    "seams": "pages overlap",
    "seam_pages": "a small page for each border between pages",
    "reread": "all pages are read twice; needs that no row leaves and returns, or comes and leaves",
    "stable": "the cursor is declared stable (paging.stable)",
}
LONGEST_RECURRENCE = 101  # records that are compared; no overlap is longer
IN_PARALLEL = 50  # seam pages; the client's own limits are lower

T = TypeVar("T")


@dataclass(frozen=True)
class FinalReader:
    """Reads the ends of a window again, and what the proof of its paging style needs.

    `count` returns the number of records that the source reports with a page, or None. All methods raise
    what `SourceClient.fetch` raises.
    """

    pages: Pages[RawPage]
    reader: PageReader
    count: Callable[[FetchedPage[RawPage]], Coroutine[Any, Any, int | None]]

    async def check(self, run: SyncRun, chunks: Sequence[ChunkProgress]) -> FinalCheck:
        """Recount the window, reread its ends, and compare what the proof needs."""
        match self.pages.paginator:
            case Offset():
                final = await self._check_the_end(run.total or 0, chunks)
            case PageNumber():
                final = await self._check_both_ends(chunks)
            case _:
                final = await self._check_the_first_page(chunks)
        if final.why_unproven:
            return final
        if count_pages(chunks) <= 1:
            return replace(final, proof="one page holds the whole window")
        if why := self._why_unproven(chunks):
            return replace(final, why_unproven=why)
        proof = self.pages.paginator.proof
        return replace(final, proof=PROOFS[proof], joins=await self._joins(run.total or 0, chunks))

    def _why_unproven(self, chunks: Sequence[ChunkProgress]) -> str | None:
        paginator = self.pages.paginator
        if why := paginator.why_unproven():
            return why
        if paginator.proof == "seams" and not chunks[0].chunk.overlap:
            return "the source returns one record per page, so pages cannot overlap: check paging.limit_param"
        number = count_pages(chunks)
        is_default = paginator.spec.paging.proof is None
        if paginator.proof == "seam_pages" and is_default and number > MAX_SEAM_PAGES:
            return (
                f"{number} pages need as many small requests: set paging.proof: seams if that is acceptable, "
                "or a larger paging.page_size"
            )
        return None

    async def _joins(self, total: int, chunks: Sequence[ChunkProgress]) -> PageJoins | None:
        match self.pages.paginator.proof:
            case "seam_pages":
                return await self._read_seam_pages(total, chunks)
            case "reread":
                return await self._read_backwards(chunks)
            case "stable":
                return _compare_neighbours(edges_of(chunks), self._has_ids)
            case _:
                return None  # the ledger holds the seams

    async def _check_the_end(self, total: int, chunks: Sequence[ChunkProgress]) -> FinalCheck:
        """Request the last records and a whole page after them, which must be empty."""
        ends = min(max(1, chunks[-1].chunk.overlap), total) if chunks else 0
        chunk = chunks[-1].chunk if chunks else None
        size = chunk.page_size + chunk.overlap if chunk else self._page_size
        response = latest = await self.pages.at(total - ends, size)
        received = len(response.content.records)
        if chunks and _fullest_page(chunks) <= ends:  # no page so far had room for more
            latest = await self.pages.at(total, size)
            received += len(latest.content.records)
        ends_match = received == ends and self._last_fingerprint(response.content, ends) == (
            chunks[-1].last_fingerprint if chunks else None
        )
        counted = await self.count(latest)
        detail = _why_ends_differ(total, total - ends + received)
        total = total - ends + received if counted is None else counted
        why = self._why_open(chunks, response.content, ends)
        return FinalCheck(total, ends_match, why_unproven=why, ends_detail=detail)

    async def _check_both_ends(self, chunks: Sequence[ChunkProgress]) -> FinalCheck:
        """Reread the first page and the last one: numbered pages cannot overlap."""
        if not chunks:
            response = await self.pages.at(0, self._page_size)
            return FinalCheck(await self.count(response) or len(response.content.records), True)
        first = next(chunks[0].chunk.pages())
        *_, last = chunks[-1].chunk.pages()
        responses = [await self._fetch_page(page) for page in ((first, last) if first != last else (last,))]
        first_fingerprint = self.reader.fingerprint(responses[0].content, slice(1))
        ends_match = (
            first_fingerprint == chunks[0].first_fingerprint
            and self._last_fingerprint(responses[-1].content, 1) == chunks[-1].last_fingerprint
        )
        counted = await self.count(responses[-1])
        received = last.offset + len(responses[-1].content.records)
        size = last.size if first == last else last.page_size
        detail = _why_ends_differ(last.end, received)
        if last.size == size and ends_match:  # a total that is too low would hide the next page
            ends_match = await self._is_last(last, responses[-1].content)
            detail = detail if ends_match else _why_ends_differ(last.end, last.end + 1)
        why = self._why_open(chunks, responses[-1].content, 2)
        total = received if counted is None else counted
        return FinalCheck(total, ends_match, why_unproven=why, ends_detail=detail)

    def _why_open(self, chunks: Sequence[ChunkProgress], end: RawPage, size: int) -> str | None:
        """Return why the end of the window is not certain: equal records there hide a shift, too.

        It is, if the answer with the last record reports the total, or shows that nothing follows.
        """
        if self._has_ids or not chunks or chunks[-1].page_totals:
            return None
        positions = range(len(end.records))[-size:]
        last = {self.reader.fingerprint(end, slice(i, i + 1)) for i in positions}
        if len(last) > 1 and not (chunks[-1].page_edges and chunks[-1].page_edges[-1].last_repeats):
            return None
        return (
            "the last records are equal, and no page reports the total: map fields.movement_id, or set total "
            "if the API reports one"
        )

    async def _is_last(self, page: Page, content: RawPage) -> bool:
        """Return True if no record follows a full numbered page: the next one is empty, or this one again.

        Some APIs repeat the last page past the end. The total or record ids must confirm it; ids cannot if
        the page is the first: then the source may ignore the page number.
        """
        beyond = (await self.pages.at(page.offset + page.size, page.size)).content
        if not beyond.records:
            return True
        confirmed = self.pages.paginator.spec.total.source != "none" or (self._has_ids and page.offset > 0)
        return confirmed and seen_page(self.reader, beyond) == seen_page(self.reader, content)

    async def _check_the_first_page(self, chunks: Sequence[ChunkProgress]) -> FinalCheck:
        """Reread the first page: the cursors of the others may not be usable twice."""
        response = await self.pages.after(None)
        first_fingerprint = self.reader.fingerprint(response.content, slice(None))
        total = await self.count(response)
        assert isinstance(self.pages.paginator, Sequential)
        received = len(response.content.records)
        why = self.pages.paginator.why_no_sign(response.content, response.headers, received)
        is_unchanged = first_fingerprint == chunks[0].first_fingerprint
        return FinalCheck(total, is_unchanged, why_unproven=why if total is None else None)

    async def _read_seam_pages(self, total: int, chunks: Sequence[ChunkProgress]) -> PageJoins:
        """Read a small page for each border between pages, which shows the records on both sides."""
        size, edges = chunks[0].chunk.page_size, edges_of(chunks)

        found = await _in_parallel(
            [
                partial(self._look_across, index * size, total, size, before, after)
                for index, (before, after) in enumerate(pairwise(edges), 1)
            ]
        )
        gaps = [each.gap for each in found if each.gap]
        shown = f"{gaps[0]} ({len(gaps)} of {len(found)} borders)" if gaps else None
        return PageJoins(len(found), sum(each.broken for each in found), shown)

    async def _look_across(
        self, border: int, total: int, page_size: int, before: PageEdges, after: PageEdges
    ) -> PageJoins:
        """Compare the records on both sides of a border, in one answer, with those read there before."""
        margin = self._margin
        offset, size = seam_page(border, margin)
        refused = PageJoins(
            1, gap=f"the source does not return pages of {size} records: set paging.proof: reread"
        )
        try:
            page = (await self.pages.at(offset, size)).content
        except SourceMappingError:  # an unusual page size may be refused
            return refused
        expected, at = min(size, total - offset), border - offset
        if len(page.records) != expected:
            return refused
        width = min(margin, page_size)
        left, right = slice(at - width, at), slice(at, min(at + width, expected))
        if [self.reader.fingerprint(page, side) for side in (left, right)] != [before.last, after.first]:
            # A page that is the last one may be as short as expected although its size is clamped.
            return refused if expected < size and size > page_size else PageJoins(1, broken=1)
        around = [self.reader.fingerprint(page, slice(i, i + 1)) for i in range(left.start, right.stop)]
        has_equal = any(left == right for left, right in pairwise(around))
        if not self._has_ids and (has_equal or before.last_repeats or after.first_repeats):
            return PageJoins(1, gap="equal records at a border between pages: map fields.movement_id")
        return PageJoins(1)

    async def _read_backwards(self, chunks: Sequence[ChunkProgress]) -> PageJoins:
        """Read all pages again, from the last to the first, and compare each with the first reading."""
        pages = [page for progress in chunks for page in progress.chunk.pages()]
        edges, broken = edges_of(chunks), 0
        for page, before in zip(reversed(pages), reversed(edges), strict=True):
            content = (await self._fetch_page(page)).content
            broken += self.reader.fingerprint(content, slice(None)) != before.whole
        return PageJoins(len(pages), broken)

    async def _fetch_page(self, page: Page) -> FetchedPage[RawPage]:
        return await self.pages.at(page.offset, page.page_size or page.size)

    def _last_fingerprint(self, page: RawPage, size: int) -> str | None:
        return self.reader.fingerprint(page, slice(-size, None)) if size else None

    @property
    def _page_size(self) -> int:
        return self.pages.paginator.spec.paging.effective_page_size

    @property
    def _has_ids(self) -> bool:
        return self.pages.paginator.spec.has_ids

    @property
    def _margin(self) -> int:
        return edge_width(self.pages.paginator)


def _why_ends_differ(total: int, found: int) -> str | None:
    """Return what a number of records other than the total says; None if it is equal."""
    if found == total:
        return None
    place = f"records follow at position {total}" if found > total else f"there is none at position {found}"
    return (
        f"of the {total} records counted at first, {place}: check total in the spec, or start a new run if "
        "the source has changed since"
    )


def seam_page(border: int, margin: int) -> tuple[int, int]:
    """Return offset and size of the smallest page, of 3 or more, that shows `margin` records on both sides.

    Its offset is a multiple of its size. Before the border it shows fewer if there are no more.
    """
    before = min(margin, border)
    size = next(size for size in count(max(3, before + margin)) if before <= border % size <= size - margin)
    return border - border % size, size


def seen_page(reader: PageReader, page: RawPage) -> SeenPage:
    """Return a page's number of records and their fingerprint."""
    return SeenPage(len(page.records), reader.fingerprint(page, slice(None)))


def edge_width(paginator: Positional | Sequential) -> int:
    """Return how many records at each end of a page are its edge; without ids, one would not identify it."""
    return 1 if paginator.spec.has_ids or paginator.proof != "seam_pages" else 2


def read_edges(reader: PageReader, page: RawPage, paginator: Positional | Sequential) -> PageEdges:
    """Return the edges of a page; with the fingerprint of all its records if the proof compares it."""
    size, has_ids, width = len(page.records), paginator.spec.has_ids, edge_width(paginator)
    if not size:
        return PageEdges(None, None)
    whole = paginator.proof == "reread" or (paginator.proof == "stable" and not has_ids)
    keys = [] if has_ids else reader.essences(page)
    return PageEdges(
        reader.fingerprint(page, slice(width)),
        reader.fingerprint(page, slice(-width, None)),
        reader.fingerprint(page, slice(None)) if whole else None,
        _edge_repeats(keys, width),
        _edge_repeats(keys[::-1], width),
    )


def count_equal_rows(reader: PageReader, page: RawPage, before: int, after: int) -> int:
    """Count the records at an edge of a page that are equal or that the page has at another place, too.

    They are 0 if they are fewer than the first `before` and the last `after`, which two pages share: then a
    shift between two pages shows.
    """
    keys = reader.essences(page)
    counts = [
        (max(_run(edge), _recurrence(edge)), shared)
        for edge, shared in ((keys, before), (keys[::-1], after))
        if shared
    ]
    return max((count for count, shared in counts if count >= shared), default=0)


def _edge_repeats(keys: Sequence[Any], width: int) -> bool:
    """Return True if the first record equals the next, or if the first two are also at another place."""
    return _run(keys) > 1 or (width > 1 and _recurrence(keys) >= width)


def _run(keys: Sequence[Any]) -> int:
    """Count the equal records at the start."""
    return sum(1 for _ in takewhile(lambda key: key == keys[0], keys))


def _recurrence(keys: Sequence[Any]) -> int:
    """Return how many records from the start on are also, in the same order, at another place."""
    starts = [start for start in range(1, len(keys)) if keys[start] == keys[0]]
    return max((_common(keys, start) for start in starts), default=0)


def _common(keys: Sequence[Any], start: int) -> int:
    pairs = zip(keys[:LONGEST_RECURRENCE], keys[start : start + LONGEST_RECURRENCE], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def edges_of(chunks: Iterable[ChunkProgress]) -> list[PageEdges]:
    """Return the edges of all pages, in order."""
    return [edges for progress in chunks for edges in progress.page_edges]


def count_pages(chunks: Sequence[ChunkProgress]) -> int:
    """Count the pages that a window was read in."""
    return sum(len(each.page_edges) or -(-each.chunk.size // each.chunk.page_size) for each in chunks)


def _compare_neighbours(edges: Sequence[PageEdges], has_ids: bool) -> PageJoins | None:
    """Compare the last record of each page with the first of the next one; ids show a repeated one anyway."""
    pairs = list(pairwise(each for each in edges if each.first is not None))
    equal = sum(before.last == after.first for before, after in pairs)
    if has_ids:
        return None
    wholes = [each.whole for each in edges if each.whole is not None]
    if repeated := len(wholes) - len(set(wholes)):
        return PageJoins(
            len(wholes),
            gap=f"{repeated} pages have the same records as earlier ones: map fields.movement_id, which "
            "shows if the source ignored a cursor",
        )
    if not equal:
        return None
    return PageJoins(
        len(pairs),
        gap=f"the same record on both sides of {equal} borders between pages: map fields.movement_id",
    )


def _fullest_page(chunks: Sequence[ChunkProgress]) -> int:
    """Return the largest number of records known to have been in one page."""
    return max(min(progress.fetched, progress.chunk.page_size) for progress in chunks)


async def _in_parallel(calls: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
    """Await calls, a limited number of them at the same time. Return their results in order."""
    results: list[T] = []
    for start in range(0, len(calls), IN_PARALLEL):
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(call()) for call in calls[start : start + IN_PARALLEL]]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # tasks are retried by the kind of the error
        results += [task.result() for task in tasks]
    return results

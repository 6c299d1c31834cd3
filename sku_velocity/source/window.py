"""One window of one warehouse, as its source tells it: how many records it holds, and page by page which."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import httpx

from sku_velocity.errors import NoSuchPageError, SourceMappingError
from sku_velocity.http.exchange import Tally
from sku_velocity.model.chunk import ChunkProgress, Page, PageResult
from sku_velocity.model.master import Master
from sku_velocity.model.run import FinalCheck, MasterVersion, SyncRun
from sku_velocity.model.window import Window
from sku_velocity.source.client import Answer, SourceClient
from sku_velocity.source.envelope import checked_count, read_count
from sku_velocity.source.paging import find_end
from sku_velocity.source.requests import Ask, Requests
from sku_velocity.source.spec import SourceSpec
from sku_velocity.source.validation import PageReader, RawPage

NOTHING = RawPage(b"", [], None)
SAMPLE_SIZE = 20  # records by which the mapping is judged before a window is read


@dataclass(frozen=True)
class WindowProbe:
    """What a source says of a window at first: its records, None where unknown, and how many a page holds."""

    total: int | None
    page_size: int


@dataclass
class WindowReader:
    """Reads one window of one warehouse. All methods raise what `SourceClient.fetch` raises."""

    client: SourceClient
    warehouse: str
    window: Window
    reader: PageReader
    master_version: MasterVersion | None = None
    _first_page: Answer[RawPage] | None = None
    _page_size: int = 0

    @classmethod
    def of(
        cls, client: SourceClient, warehouse: str, window: Window, master: Master | None = None
    ) -> WindowReader:
        """A reader with its schema built: make one for all pages of a chunk."""
        reader = PageReader(client.spec, warehouse, window, master)
        return cls(client, warehouse, window, reader, master.of if master else None)

    async def check(self) -> None:
        """Ask for the first records, to see that address, token and mapping are right.

        The error's message says which of the three is wrong.
        """
        self._check_mapping((await self._ask(0, self._probe_size)).content)

    async def probe(self) -> WindowProbe:
        """Count the window and find out how much a page holds, having checked address, token and mapping.

        The first page is kept for the `read` that will ask for it.
        """
        asked = self._spec.paging.effective_page_size
        answer = await self._ask(0, asked)
        self._check_mapping(answer.content)
        held = len(answer.content.records)
        if held > asked and self._heeds_page_size:
            raise SourceMappingError(
                f"{self._spec.name}: mapping: asked for {asked} records, got {held}: the page size is not "
                f"heeded: check paging.limit_param {self._spec.paging.limit_param}"
            )
        self._page_size = held or asked
        total = await self._count(answer)
        if total is None and not self._spec.paging.is_sequential:
            total = await find_end(self._has_record, held)
        self._first_page = answer
        is_clamped = total is not None and 0 < held < min(asked, total)
        self._page_size = held if is_clamped or held > asked else asked
        return WindowProbe(total, self._page_size)

    async def peek(self) -> tuple[WindowProbe, Answer[RawPage]]:
        """What `probe` finds, with the first page as it came."""
        probe = await self.probe()
        answer = self._first_page
        assert answer is not None
        return probe, answer

    async def final_check(self, run: SyncRun, chunks: Sequence[ChunkProgress]) -> FinalCheck:
        """Count the window again, and read its ends again: one request, or two."""
        match self._spec.paging.style:
            case "offset":
                return await self._check_the_end(run.total or 0, chunks)
            case "page":
                return await self._check_both_ends(chunks)
            case _:
                return await self._check_the_first_page(chunks)

    async def read(self, page: Page) -> PageResult:
        """One page, its records sorted. One that holds too few is for the proof to see."""
        started = time.monotonic()
        answer = self._take_first_page(page.offset) or await self._ask_page(page)
        ends = max(1, page.overlap)
        whole = answer.content.cut(0, page.before + page.size)
        result = replace(
            self.reader.validate(whole.cut(page.before, page.size), page),
            first_fingerprint=self.reader.fingerprint(whole, slice(page.before or ends)),
            last_fingerprint=self.reader.fingerprint(whole, slice(-ends, None)),
        )
        return _with_cost(result, answer.tally, started)

    async def read_from(self, cursor: str | None, offset: int) -> PageResult:
        """The page that a cursor stands for (None: the first), with the cursor of the next.

        Its records take the positions from `offset` on. Raises SourceMappingError where the cursor does not
        move, and SourceAddressError where a link leads away from base_url.
        """
        started = time.monotonic()
        answer = self._take_first_page(offset) or await self._ask_from(cursor)
        following = self._following(answer)
        if following is not None and following == cursor:
            shown = self.client.quote(cursor.encode())
            raise SourceMappingError(
                f"{self._spec.name}: mapping: the answer from {shown} says to go on from there again: "
                "check paging.cursor_path and paging.more_path"
            )
        page = Page(offset, len(answer.content.records))
        result = replace(
            self.reader.validate(answer.content, page),
            first_fingerprint=self.reader.fingerprint(answer.content, slice(None)),
            next_cursor=following,
            is_last=following is None,
        )
        return _with_cost(result, answer.tally, started)

    def _take_first_page(self, offset: int) -> Answer[RawPage] | None:
        if offset:
            return None
        answer, self._first_page = self._first_page, None
        return answer

    def _following(self, answer: Answer[RawPage]) -> str | None:
        """Where to go on, as the body says or, where no path is named, the header `Link` (RFC 8288)."""
        paging = self._spec.paging
        if paging.cursor_path or paging.next_path:
            return answer.content.following
        link = httpx.Response(200, headers=answer.headers).links.get("next", {})
        return link.get("url")

    async def _ask_from(self, cursor: str | None) -> Answer[RawPage]:
        return await self._fetch(self._requests.following(cursor, self._spec.paging.effective_page_size))

    async def _check_the_end(self, total: int, chunks: Sequence[ChunkProgress]) -> FinalCheck:
        """Ask for the last records and one more, which must not be there."""
        ends = min(max(1, chunks[-1].chunk.overlap), total) if chunks else 0
        answer = await self._ask(total - ends, ends + 1)
        held = len(answer.content.records)
        if chunks and _fullest_page(chunks) <= ends:  # no page has shown room for the one more
            held += await self._has_record(total)
        agree = held == ends and self._tail(answer.content, ends) == (
            chunks[-1].last_fingerprint if chunks else None
        )
        counted = await self._count(answer)
        return FinalCheck(total - ends + held if counted is None else counted, agree)

    async def _check_both_ends(self, chunks: Sequence[ChunkProgress]) -> FinalCheck:
        """Read the first page and the last again: pages that go by number cannot overlap."""
        if not chunks:
            answer = await self._ask(0, self._spec.paging.effective_page_size)
            return FinalCheck(await self._count(answer) or len(answer.content.records), True)
        first = next(chunks[0].chunk.pages())
        *_, last = chunks[-1].chunk.pages()
        answers = [await self._ask_page(page) for page in ((first, last) if first != last else (last,))]
        head = self.reader.fingerprint(answers[0].content, slice(1))
        agree = (
            head == chunks[0].first_fingerprint
            and self._tail(answers[-1].content, 1) == chunks[-1].last_fingerprint
        )
        counted = await self._count(answers[-1])
        held = last.offset + len(answers[-1].content.records)
        size = last.size if first == last else last.page_size
        if last.size == size:  # a total that is too low would hide the page after it
            agree = agree and not (await self._ask(last.offset + size, size)).content.records
        return FinalCheck(held if counted is None else counted, agree)

    async def _check_the_first_page(self, chunks: Sequence[ChunkProgress]) -> FinalCheck:
        """Read the first page again: of the others, a cursor may not be asked twice."""
        answer = await self._ask_from(None)
        head = self.reader.fingerprint(answer.content, slice(None))
        return FinalCheck(await self._count(answer), head == chunks[0].first_fingerprint)

    def _tail(self, page: RawPage, size: int) -> str | None:
        return self.reader.fingerprint(page, slice(-size, None)) if size else None

    @property
    def _spec(self) -> SourceSpec:
        return self.client.spec

    @property
    def _requests(self) -> Requests:
        return Requests(self._spec, self.warehouse, self.window)

    @property
    def _heeds_page_size(self) -> bool:
        return self._spec.paging.limit_param is not None or self._spec.paging.place == "range_header"

    @property
    def _probe_size(self) -> int:
        """Records by which the mapping is judged; pages that go by number are asked for whole."""
        size = self._spec.paging.effective_page_size
        return size if self._spec.paging.style == "page" else min(SAMPLE_SIZE, size)

    async def _ask_page(self, page: Page) -> Answer[RawPage]:
        if self._spec.paging.style == "page":
            return await self._ask(page.offset, page.page_size or page.size)
        return await self._ask(page.offset - page.before, page.before + page.size)

    async def _ask(self, offset: int, count: int) -> Answer[RawPage]:
        """Some records; none where there is no such page, for past the end some APIs say so."""
        try:
            return await self._fetch(self._requests.page(offset, count))
        except NoSuchPageError:
            if offset == 0:
                raise
            return Answer(NOTHING, {}, Tally(requests=1))

    async def _fetch(self, ask: Ask) -> Answer[RawPage]:
        return await self.client.fetch(self.client.build_request(ask), self.reader.read)

    async def _has_record(self, position: int) -> bool:
        size = self._page_size if self._spec.paging.style == "page" else 1
        answer = await self._ask(position - position % size, size)
        return len(answer.content.records) > position % size

    async def _count(self, answer: Answer[RawPage]) -> int | None:
        """The number of records that the source tells; None where it tells none."""
        spec = self._spec
        if answer.content is NOTHING:
            return None
        if spec.total.request is not None:
            request = self.client.build_request(self._requests.count(spec.total.request))
            return (await self.client.fetch(request, partial(read_count, spec))).content
        return None if spec.total.source == "none" else self._total(answer)

    def _check_mapping(self, page: RawPage) -> None:
        if missing := self.reader.unmapped_fields(page):
            wanted = ", ".join(f"fields.{name}: {path}" for name, path in missing.items())
            raise SourceMappingError(
                f"{self._spec.name}: mapping: none of the first {len(page.records)} records has {wanted}; "
                f"the answer begins: {self.client.quote(page.body)}"
            )

    def _total(self, answer: Answer[RawPage]) -> int:
        spec, headers = self._spec.total, answer.headers
        told: int | str | None = answer.content.total
        place = f"total.path {spec.path}"
        if spec.source == "header":
            place, told = f"header {spec.header}", headers.get(spec.header or "")
        if spec.source == "content_range":
            place, told = "header Content-Range", headers.get("Content-Range", "").rpartition("/")[2]
        try:
            return checked_count(told)
        except (TypeError, ValueError):
            raise SourceMappingError(
                f"{self._spec.name}: mapping: no total at {place}; "
                f"the answer begins: {self.client.quote(answer.content.body)}"
            ) from None


def _fullest_page(chunks: Sequence[ChunkProgress]) -> int:
    """The most records that a page is known to have held."""
    return max(min(progress.fetched, progress.chunk.page_size) for progress in chunks)


def _with_cost(result: PageResult, tally: Tally, started: float) -> PageResult:
    return replace(
        result,
        requests=tally.requests,
        retried=tally.retried,
        throttled=tally.throttled,
        seconds=time.monotonic() - started,
    )

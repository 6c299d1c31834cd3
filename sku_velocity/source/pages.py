"""Fetches the pages of one list: a window's records, or the list of warehouses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from sku_velocity.errors import NoSuchPageError, SourceMappingError, UnreadableBodyError
from sku_velocity.http.exchange import Response, Tally
from sku_velocity.source.client import SourceClient
from sku_velocity.source.paginators import PageEnvelope, Positional, Sequential, paginator_of
from sku_velocity.source.paging import PAGES_BEYOND, CursorTrail, EndlessPagingError
from sku_velocity.source.requests import RequestParts, Requests
from sku_velocity.text import quote

MAX_PAGES = 10_000  # of a list that is read in one go; a longer one is an endless loop


class PageBody(PageEnvelope, Protocol):
    """A parsed page."""

    @property
    def records(self) -> Sequence[Any]: ...

    @property
    def is_null(self) -> bool: ...


P = TypeVar("P", bound=PageBody)


@dataclass(frozen=True)
class FetchedPage(Generic[P]):
    """A page with its headers and cost, and the cursor or absolute link of the next one, if any.

    `is_missing` is True for a page past the end that the source does not have.
    """

    content: P
    headers: Mapping[str, str]
    tally: Tally
    following: str | None = None
    is_missing: bool = False


@dataclass
class Pages(Generic[P]):
    """The pages of one list; `read` parses the body of each."""

    client: SourceClient
    requests: Requests
    read: Callable[[bytes], P]
    trail: CursorTrail = field(default_factory=CursorTrail)

    def __post_init__(self) -> None:
        self._spec = self.requests.spec
        self.paginator = paginator_of(self._spec)

    async def at(self, offset: int, count: int) -> FetchedPage[P]:
        """Fetch `count` records from an offset on; none if there is no such page, as some say past the end.

        Raises what `after` raises.
        """
        try:
            return await self._fetch(self.requests.page(offset, count))
        except NoSuchPageError:
            if offset == 0:
                raise
            return FetchedPage(self.read(b"null"), {}, Tally(requests=1), is_missing=True)

    async def after(self, cursor: str | None) -> FetchedPage[P]:
        """Fetch the page of a cursor or link; None: the first page.

        Raises SourceMappingError if it is not clear whether and where another page follows, and
        SourceAddressError if a link points to a host other than base_url's, and UnreadableBodyError if the
        page that a cursor or link promised has no body.
        """
        parts = self.requests.following(cursor, self._spec.paging.effective_page_size)
        return await self._fetch(parts, self.read if cursor is None else self._read_promised)

    def check_progress(self, cursor: str | None, offset: int, page: FetchedPage[P]) -> None:
        """Check that the page of a cursor does not lead back to a page that was read before.

        Raises SourceMappingError if it does, or if too many pages in a row are empty.
        """
        self.trail.add(cursor, offset)
        if page.following is None:
            return
        try:
            self.trail.check(cursor, page.following, offset, len(page.content.records))
        except EndlessPagingError as error:
            assert isinstance(self.paginator, Sequential)
            shown = quote((cursor or "").encode("utf-8", "replace"))
            place = f"the page of {shown}" if cursor else "the first page"
            raise SourceMappingError(
                f"{self._spec.name}: mapping: {place}, at offset {offset}: {error}: "
                f"check {self.paginator.sign} and paging.more_path"
            ) from error

    async def all(self) -> AsyncIterator[P]:
        """Fetch all pages one by one, up to the end.

        Raises SourceMappingError if there is none, or if it is not certain that it is one.
        """
        pages = self._in_sequence() if isinstance(self.paginator, Sequential) else self._by_position()
        number = 0
        async for page in pages:
            number += 1
            if number > MAX_PAGES:
                raise SourceMappingError(f"{self._spec.name}: mapping: the list has no end: check paging")
            yield page

    async def _in_sequence(self) -> AsyncIterator[P]:
        cursor, offset = None, 0
        while True:
            page = await self.after(cursor)
            self.check_progress(cursor, offset, page)
            if cursor is None and page.following is None:
                self._check_end(page)
            yield page.content
            if page.following is None:
                return
            cursor, offset = page.following, offset + len(page.content.records)

    def _check_end(self, page: FetchedPage[P]) -> None:
        assert isinstance(self.paginator, Sequential)
        received = len(page.content.records)
        why = self.paginator.why_no_sign(page.content, page.headers, received)
        if why and self.paginator.is_full(received):
            raise SourceMappingError(f"{self._spec.name}: mapping: the first page is full, and {why}")

    async def _by_position(self) -> AsyncIterator[P]:
        assert isinstance(self.paginator, Positional)
        size, offset = self._spec.paging.effective_page_size, 0
        before: Sequence[Any] | None = None
        while True:
            page = (await self.at(offset, size)).content
            if not page.records:
                await self._check_beyond(offset, size)
                return
            if page.records == before and await self._repeats(page, size):
                return
            yield page
            before, offset = page.records, offset + self.paginator.step(len(page.records))

    async def _check_beyond(self, offset: int, size: int) -> None:
        """Check that no records follow an empty or missing page: those on it would be lost."""
        for beyond in (offset + size * pages for pages in PAGES_BEYOND if offset):
            if (await self.at(beyond, size)).content.records:
                raise SourceMappingError(
                    f"{self._spec.name}: mapping: no records at position {offset}, but at {beyond}: the "
                    "source does not return all of them: check paging, and the permissions of the token"
                )

    async def _repeats(self, page: P, size: int) -> bool:
        """Return True if the source returns this page for any later position, too.

        Two pages in a row may be equal because their records are. A position that no list reaches tells.
        """
        beyond = await self.at(MAX_PAGES * size, size)
        return list(beyond.content.records) == list(page.records)

    def _read_promised(self, body: bytes) -> P:
        content = self.read(body)
        if content.is_null:
            assert isinstance(self.paginator, Sequential)
            raise UnreadableBodyError(
                f"{self._spec.name}: the page before names this one, but the response has no content (HTTP "
                f"204, or the body is null), which is no sign of the end: check {self.paginator.sign}; if it "
                "is also there at the end, set paging.more_path"
            )
        return content

    async def _fetch(self, parts: RequestParts, read: Callable[[bytes], P] | None = None) -> FetchedPage[P]:
        request = self.client.build_request(parts)
        response = await self.client.fetch(request, read or self.read)
        following = self._following(response, str(request.url))
        return FetchedPage(response.content, response.headers, response.tally, following)

    def _following(self, response: Response[P], url: str) -> str | None:
        """Return the cursor or absolute link of the next page, or None."""
        if not isinstance(self.paginator, Sequential):
            return None
        following = self.paginator.following(response.content, response.headers)
        if following is None:
            return None
        if self.paginator.follows_links:
            following = self.requests.resolve(following, url)
        return self.client.conceal(following, self.paginator.follows_links)

"""The ways in which an API pages: the request for a page, what follows it, and what can be proven of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from sku_velocity.errors import SourceMappingError
from sku_velocity.source.links import next_link
from sku_velocity.source.spec import SourceSpec
from sku_velocity.spec_file import Scalar
from sku_velocity.text import quote

# How a window is proven: pages that overlap, small pages across the borders, a second reading, a cursor that
# is declared stable, or not at all.
Proof = Literal["seams", "seam_pages", "reread", "stable", "none"]


@dataclass(frozen=True)
class PageAddress:
    """The part of a request that identifies a page: parameters, headers, or the whole URL."""

    params: Mapping[str, Scalar] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None


class PageEnvelope(Protocol):
    """What a page's body says about the next page: a cursor or link, and whether there is more.

    `lacks_following`: the body does not have the key of the cursor or link at all.
    """

    @property
    def following(self) -> str | None: ...

    @property
    def more(self) -> bool | None: ...

    @property
    def lacks_following(self) -> bool: ...


@dataclass(frozen=True)
class Paginator(ABC):
    """One way of paging."""

    spec: SourceSpec

    @abstractmethod
    def at(self, offset: int, count: int) -> PageAddress:
        """Address the page of `count` records from `offset` on. If pages are sequential: the first page."""

    @property
    @abstractmethod
    def proof(self) -> Proof:
        """How a window is proven that was read in this way."""

    @abstractmethod
    def why_unproven(self) -> str | None:
        """Return why the spec allows no proof of a window, with the key to set, or None if it does."""

    def _limit(self, count: int) -> dict[str, Scalar]:
        name = self.spec.paging.limit_param
        return {name: count} if name else {}


class Positional(Paginator):
    """Pages that can be requested in any order, by their position."""

    def step(self, received: int) -> int:
        """Return the number of positions to the next page, after a page of `received` records."""
        return received

    @property
    @abstractmethod
    def param(self) -> str:
        """The key of the spec that names the position."""

    def _why_unordered(self) -> str | None:
        if self.spec.has_ids or self.spec.order.is_declared:
            return None
        return (
            "no record id is mapped and no order is declared: set fields.movement_id, order.params or "
            "order.stable"
        )


class Offset(Positional):
    """Pages by the number of records before them, in a parameter or a range header."""

    param: ClassVar[str] = "paging.offset_param"

    def at(self, offset: int, count: int) -> PageAddress:
        paging = self.spec.paging
        first = offset + paging.first
        if paging.place == "range_header":
            span = f"{first}-{first + count - 1}"
            unit = f"{paging.range_unit}=" if paging.range_unit else ""
            return PageAddress(headers={paging.range_header: unit + span})
        return PageAddress({paging.offset_param: first} | self._limit(count))

    @property
    def proof(self) -> Proof:
        return "seams" if self.spec.paging.effective_overlap else "none"

    def why_unproven(self) -> str | None:
        if self.proof == "none":
            return "pages do not overlap: set paging.overlap to 1 and paging.page_size to 2 or more"
        return self._why_unordered()


class PageNumber(Positional):
    """Pages by their number, or by a number of records that is a multiple of the page size."""

    param: ClassVar[str] = "paging.page_param"

    def at(self, offset: int, count: int) -> PageAddress:
        paging = self.spec.paging
        before = offset if paging.page_counts == "records" else offset // count
        return PageAddress({paging.page_param: before + paging.first} | self._limit(count))

    def step(self, received: int) -> int:
        paging = self.spec.paging
        return paging.effective_page_size if paging.page_counts == "pages" else received

    @property
    def proof(self) -> Proof:
        match self.spec.paging.proof:
            case "ends":
                return "none"
            case "reread":
                return "reread"
            case "seams":
                return "seam_pages"
            case None:
                return "seam_pages" if self.spec.paging.limit_param else "reread"

    def why_unproven(self) -> str | None:
        if self.proof == "none":
            return "paging.proof is ends: set it to seams or reread"
        return self._why_unordered()


class Sequential(Paginator):
    """Pages that can be requested only after the page before them."""

    follows_links: ClassVar[bool] = False

    def at(self, offset: int, count: int) -> PageAddress:
        return PageAddress(self._limit(count))

    @abstractmethod
    def after(self, cursor: str, count: int) -> PageAddress:
        """Address the page of a cursor or link."""

    @property
    @abstractmethod
    def sign(self) -> str:
        """What says that another page follows, for a message."""

    @property
    def proof(self) -> Proof:
        return "stable" if self.spec.paging.stable else "none"

    def why_unproven(self) -> str | None:
        if self.proof == "none":
            return "the cursor is not declared stable: set paging.stable if it is a keyset or a snapshot"
        return None

    def why_no_sign(self, page: PageEnvelope, headers: Mapping[str, str], received: int) -> str | None:
        """Return why a list that ends with its first page may go on: the page has no sign of the next one.

        If the first page had it, its place is right: many APIs leave it out of the last page only.
        """
        if self.spec.paging.more_path or not self._lacks_sign(page, headers, received):
            return None
        place = f"the key {self.sign}" if self.spec.paging.following_path else self.sign
        return (
            f"no page has {place}: correct it if it is wrong; if the API leaves it out at the end, set "
            "paging.more_path or total"
        )

    def _lacks_sign(self, page: PageEnvelope, headers: Mapping[str, str], received: int) -> bool:
        return page.lacks_following

    def is_full(self, received: int) -> bool:
        """Return True if a page may be full: more records may follow."""
        paging = self.spec.paging
        return received >= (paging.effective_page_size if paging.limit_param else 1)

    def following(self, page: PageEnvelope, headers: Mapping[str, str]) -> str | None:
        """Return the cursor or link of the next page as received, or None at the end.

        Raises SourceMappingError if the page says that there is more, but not where.
        """
        if page.more is False:
            return None
        following = self._following(page, headers)
        if following is None and page.more:
            raise SourceMappingError(
                f"{self.spec.name}: mapping: the response says that there is more "
                f"(paging.more_path {self.spec.paging.more_path}), but there is nothing in {self.sign}"
            )
        return following

    def _following(self, page: PageEnvelope, headers: Mapping[str, str]) -> str | None:
        return page.following


class Cursor(Sequential):
    """Pages by the cursor of the page before, in a parameter."""

    def after(self, cursor: str, count: int) -> PageAddress:
        return PageAddress(self._limit(count) | {self.spec.paging.cursor_param: cursor})

    @property
    def sign(self) -> str:
        return f"paging.cursor_path {self.spec.paging.cursor_path}"


class NextLink(Sequential):
    """Pages by the link in the page before: in its body, or in the header `Link` (RFC 8288)."""

    follows_links: ClassVar[bool] = True

    def after(self, cursor: str, count: int) -> PageAddress:
        return PageAddress(url=cursor)

    @property
    def sign(self) -> str:
        path = self.spec.paging.following_path
        return f"paging.next_path {path}" if path else "the header Link (paging.next_path is not set)"

    def _lacks_sign(self, page: PageEnvelope, headers: Mapping[str, str], received: int) -> bool:
        """A short page without the header is the end: few APIs send it if there is only one page."""
        if self.spec.paging.following_path:
            return page.lacks_following
        return "Link" not in headers and self.is_full(received)

    def _following(self, page: PageEnvelope, headers: Mapping[str, str]) -> str | None:
        if self.spec.paging.following_path:
            return page.following
        header = headers.get("Link", "")
        try:
            return next_link(header)
        except ValueError as error:
            shown = quote(str(error).encode("utf-8", "replace"))
            raise SourceMappingError(
                f"{self.spec.name}: mapping: the header Link cannot be read, so the next page is unknown "
                f"(set paging.next_path if the body contains the link): {shown}"
            ) from None


_PAGINATORS: dict[str, type[Offset | PageNumber | Cursor | NextLink]] = {
    "offset": Offset,
    "page": PageNumber,
    "cursor": Cursor,
    "next_link": NextLink,
}


def paginator_of(spec: SourceSpec) -> Positional | Sequential:
    """Return the paginator of a source."""
    return _PAGINATORS[spec.paging.style](spec)

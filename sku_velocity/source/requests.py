"""Builds the requests of a spec: for a page, a warehouse and a window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from typing import Any
from urllib.parse import quote as percent_encode

import httpx

from sku_velocity.errors import SourceAddressError, SpecError
from sku_velocity.model.window import Window
from sku_velocity.source.bounds import written_bounds, written_since
from sku_velocity.source.paginators import PageAddress, Sequential, paginator_of
from sku_velocity.source.placeholders import UnescapedTextError, fill
from sku_velocity.source.spec import CountRequest, SourceSpec
from sku_velocity.spec_file import Scalar
from sku_velocity.text import quote


@dataclass(frozen=True)
class RequestParts:
    """A request before it is signed and sent; the body is JSON, or None."""

    method: str
    url: str
    params: Mapping[str, Scalar] | None
    headers: Mapping[str, str]
    body: Any = None


@dataclass(frozen=True)
class Requests:
    """The requests for one window of one warehouse: for all records or, if `since` is given, the changed."""

    spec: SourceSpec
    warehouse: str
    window: Window
    since: datetime | None = None

    def page(self, offset: int, count: int) -> RequestParts:
        """Request `count` records from `offset` on; with page numbers, `offset` is a multiple of `count`."""
        return self._addressed(paginator_of(self.spec).at(offset, count))

    def following(self, cursor: str | None, count: int) -> RequestParts:
        """Request the page of a cursor or a link, or the first page.

        Raises SourceAddressError if a link points to another host, which would receive the token.
        """
        paginator = paginator_of(self.spec)
        if cursor is None or not isinstance(paginator, Sequential):
            return self.page(0, count)
        return self._addressed(paginator.after(cursor, count))

    def resolve(self, link: str, page_url: str) -> str:
        """Return the URL of a link in the page at `page_url` (RFC 3986, 5.1.3).

        Raises SourceAddressError if it is not valid, or points to another host, which would receive the
        token.
        """
        shown = quote(link.encode("utf-8", "replace"))
        try:
            target = httpx.URL(page_url).join(link)
        except (httpx.InvalidURL, UnicodeError):
            raise SourceAddressError(
                f"{self.spec.name}: address: the link to the next page is not a valid URL: {shown}"
            ) from None
        if _origin(target) != _origin(httpx.URL(self._url(self.spec.request.path))):
            raise SourceAddressError(
                f"{self.spec.name}: address: the link to the next page is {shown}: another host, port or "
                "scheme than base_url, which must not receive the token: set base_url to it"
            )
        return str(target)

    def count(self, request: CountRequest) -> RequestParts:
        """Request the number of records; anything that `request` omits is the same as for a page."""
        page = self._addressed(PageAddress())
        bounds = {} if request.params is not None else page.params
        return RequestParts(
            method=request.method or page.method,
            url=page.url if request.path is None else self._url(request.path),
            params=self._fill_all(request.params or {}) | dict(bounds or {}),
            headers=page.headers,
            body=page.body if request.body is None else self._fill_tree(request.body),
        )

    def _addressed(self, address: PageAddress) -> RequestParts:
        parts = self._build(address.params, address.headers)
        if address.url is None:
            return parts
        return replace(parts, url=self.resolve(address.url, parts.url), params=None)

    def _build(self, paging_params: Mapping[str, Scalar], headers: Mapping[str, str]) -> RequestParts:
        request, in_body = self.spec.request, self.spec.paging.place == "json_body"
        body = self._fill_tree(deepcopy(request.body))
        if in_body:
            body = {} if body is None else body
            for path, value in paging_params.items():
                put(body, path, value)
        filled = {name: str(self._fill(value)) for name, value in request.headers.items()}
        params = self._fill_all(request.params) | self._fill_all(self.spec.order.params) | self._bounds
        if self.since is not None and self.spec.changes is not None:
            params |= self._fill_all(self.spec.changes.params)
        return RequestParts(
            method=request.method,
            url=self._url(request.path),
            params=params if in_body else {**params, **paging_params},
            headers={**filled, **headers},
            body=body,
        )

    def _url(self, path: str) -> str:
        if self.warehouse in (".", "..") and "{warehouse}" in path:
            raise SourceAddressError(
                f"{self.spec.name}: address: the warehouse {self.warehouse} changes the path: check its name"
            )
        encode = partial(percent_encode, safe="", errors="backslashreplace")
        return str(self.spec.base_url).rstrip("/") + "/" + str(self._fill(path, encode)).lstrip("/")

    @property
    def _bounds(self) -> dict[str, Scalar]:
        params = self.spec.window.params
        start, end = self._written_bounds
        named = ((params.start, start), (params.end, end))
        return {name: bound for name, bound in named if name}

    @cached_property
    def _written_bounds(self) -> tuple[str, str]:
        return written_bounds(self.window, self.spec.window) if self.spec.has_window else ("", "")

    @property
    def _warehouse_number(self) -> int:
        if not (self.warehouse.isascii() and self.warehouse.isdecimal()):
            raise SourceAddressError(
                f"{self.spec.name}: address: the warehouse must be a number, not {self.warehouse!r}: "
                "use its id in the source"
            )
        return int(self.warehouse)

    def _fill_all(self, params: Mapping[str, Scalar]) -> dict[str, Scalar]:
        return {name: self._fill(value) for name, value in params.items()}

    def _fill_tree(self, tree: Any) -> Any:
        """Fill in the placeholders in all strings of a JSON value."""
        if isinstance(tree, dict):
            return {key: self._fill_tree(value) for key, value in tree.items()}
        if isinstance(tree, list):
            return [self._fill_tree(value) for value in tree]
        return self._fill(tree)

    def _fill(self, value: Any, encode: Callable[[str], str] = str) -> Any:
        if not isinstance(value, str) or "{" not in value:
            return value
        if value == "{warehouse:number}":
            return self._warehouse_number
        start, end = self._written_bounds
        values = {"warehouse": self.warehouse, "start": start, "end": end}
        if self.since is not None:
            values["since"] = written_since(self.since, self.spec.window)
        if "{warehouse:number}" in value:
            values["warehouse:number"] = str(self._warehouse_number)
        try:
            return fill(value, values, self.spec.request.literals, encode)
        except UnescapedTextError as error:
            raise SpecError(f"{self.spec.name}: request: {error}") from error


def _origin(url: httpx.URL) -> tuple[str, bytes, str, int | None]:
    return url.scheme, url.userinfo, url.host, url.port


def put(tree: Any, path: str, value: Scalar) -> None:
    """Set the value at a dotted path of a JSON value; a number is an index of an existing list."""
    *parents, leaf = path.split(".")
    for key in parents:
        tree = tree[int(key)] if isinstance(tree, list) else tree.setdefault(key, {})
    if isinstance(tree, list):
        tree[int(leaf)] = value
    else:
        tree[leaf] = value

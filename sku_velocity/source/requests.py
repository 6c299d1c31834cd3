"""From a spec to requests: which page, which warehouse, which window."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import quote as percent_encode

import httpx

from sku_velocity.errors import SourceAddressError
from sku_velocity.model.window import Window
from sku_velocity.source.bounds import written_bounds
from sku_velocity.source.spec import CountRequest, SourceSpec
from sku_velocity.spec_file import Scalar
from sku_velocity.text import quote


@dataclass(frozen=True)
class Ask:
    """A request before it is signed and sent; a body is JSON, None for none."""

    method: str
    url: str
    params: Mapping[str, Scalar] | None
    headers: Mapping[str, str]
    body: Any = None


@dataclass(frozen=True)
class Requests:
    """The requests for one window of one warehouse."""

    spec: SourceSpec
    warehouse: str
    window: Window

    def page(self, offset: int, count: int) -> Ask:
        """Asks for `count` records from `offset` on; by page number, `offset` is a multiple of `count`."""
        paging = self.spec.paging
        places: dict[str, Scalar] = {}
        headers: dict[str, str] = {}
        if paging.place == "range_header":
            span = f"{offset + paging.first}-{offset + paging.first + count - 1}"
            headers[paging.range_header] = f"{paging.range_unit}={span}" if paging.range_unit else span
            return self._ask(places, headers)
        if paging.style == "offset":
            places[paging.offset_param] = offset + paging.first
        elif paging.style == "page":
            before = offset if paging.page_counts == "records" else offset // count
            places[paging.page_param] = before + paging.first
        if paging.limit_param:
            places[paging.limit_param] = count
        return self._ask(places, headers)

    def following(self, cursor: str | None, count: int) -> Ask:
        """Asks for what a cursor or a link stands for, or for the first page.

        Raises SourceAddressError where a link leads to another host: it would be given the token.
        """
        if cursor is None:
            return self.page(0, count)
        if self.spec.paging.style == "next_link":
            return replace(self.page(0, count), url=self._linked(cursor), params=None)
        limit = {self.spec.paging.limit_param: count} if self.spec.paging.limit_param else {}
        return self._ask({**limit, self.spec.paging.cursor_param: cursor}, {})

    def count(self, request: CountRequest) -> Ask:
        """Asks for the number of records; what `request` does not say is as for a page."""
        page = self._ask({}, {})
        bounds = {} if request.params is not None else page.params
        return Ask(
            method=request.method or page.method,
            url=page.url if request.path is None else self._url(request.path),
            params=self._fill_all(request.params or {}) | dict(bounds or {}),
            headers=page.headers,
            body=page.body if request.body is None else self._fill_in(request.body),
        )

    def _ask(self, places: dict[str, Scalar], headers: dict[str, str]) -> Ask:
        request, in_body = self.spec.request, self.spec.paging.place == "json_body"
        body = self._fill_in(deepcopy(request.body))
        if in_body:
            body = {} if body is None else body
            for path, value in places.items():
                put(body, path, value)
        filled = {name: str(self._fill(value)) for name, value in request.headers.items()}
        params = self._fill_all(request.params) | self._fill_all(self.spec.order.params) | self._bounds
        return Ask(
            method=request.method,
            url=self._url(request.path),
            params=params if in_body else params | places,
            headers=filled | headers,
            body=body,
        )

    def _url(self, path: str) -> str:
        if self.warehouse in (".", "..") and "{warehouse}" in path:
            raise SourceAddressError(f"{self.spec.name}: address: {self.warehouse} in a path leads elsewhere")
        safe = replace(self, warehouse=percent_encode(self.warehouse, safe="", errors="backslashreplace"))
        return str(self.spec.base_url).rstrip("/") + "/" + str(safe._fill(path)).lstrip("/")

    def _linked(self, link: str) -> str:
        base = httpx.URL(self._url(self.spec.request.path))
        shown = quote(link.encode("utf-8", "replace"))
        try:
            target = base.join(link)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise SourceAddressError(
                f"{self.spec.name}: address: the answer says to go on at what is no address: {shown}"
            ) from error
        if _origin(target) != _origin(base):
            raise SourceAddressError(
                f"{self.spec.name}: address: the answer says to go on at {shown}, another host, port or "
                "scheme than base_url's, which must not see the token: set base_url to it"
            )
        return str(target)

    @property
    def _bounds(self) -> dict[str, Scalar]:
        params = self.spec.window.params
        start, end = self._written
        named = ((params.start, start), (params.end, end))
        return {name: bound for name, bound in named if name}

    @cached_property
    def _written(self) -> tuple[str, str]:
        return written_bounds(self.window, self.spec.window) if self.spec.has_window else ("", "")

    def _fill_all(self, params: Mapping[str, Scalar]) -> dict[str, Scalar]:
        return {name: self._fill(value) for name, value in params.items()}

    def _fill_in(self, tree: Any) -> Any:
        """A JSON value with the placeholders in all of its texts filled in."""
        if isinstance(tree, dict):
            return {key: self._fill_in(value) for key, value in tree.items()}
        if isinstance(tree, list):
            return [self._fill_in(value) for value in tree]
        return self._fill(tree)

    def _fill(self, value: Any) -> Any:
        if not isinstance(value, str) or "{" not in value:
            return value
        start, end = self._written
        for name, text in (("warehouse", self.warehouse), ("start", start), ("end", end)):
            value = value.replace(f"{{{name}}}", text)
        return value


def _origin(url: httpx.URL) -> tuple[str, bytes, str, int | None]:
    return url.scheme, url.userinfo, url.host, url.port


def put(tree: Any, path: str, value: Scalar) -> None:
    """Set the value at a dotted path of a JSON value; a number is a place in a list that is there."""
    *parents, leaf = path.split(".")
    for key in parents:
        tree = tree[int(key)] if isinstance(tree, list) else tree.setdefault(key, {})
    if isinstance(tree, list):
        tree[int(leaf)] = value
    else:
        tree[leaf] = value

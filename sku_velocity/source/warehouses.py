"""The warehouses that a source says it has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import httpx

from sku_velocity.errors import (
    ConfigurationError,
    NoSuchPageError,
    SourceMappingError,
    UnreadableBodyError,
)
from sku_velocity.model.movement import MAX_ID
from sku_velocity.model.run import NO_WAREHOUSE
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.mapping import look_up
from sku_velocity.source.requests import Ask, Requests
from sku_velocity.source.spec import OrderSpec, PagingSpec, SourceSpec, WarehousesSpec, WindowSpec
from sku_velocity.text import quote

MAX_PAGES = 10_000  # of a list; one that goes on longer goes round in a circle


@dataclass(frozen=True)
class _Page:
    """What one answer lists, as it came and by name, and where its body says to go on."""

    records: list[Any]
    names: list[str]
    following: str | None


async def list_warehouses(client: SourceClient) -> list[str]:
    """The names of all warehouses that the source lists, each once, in its order.

    Pages are asked for until one is empty, or is the same again: an API that does not page its list. Raises
    ConfigurationError where the spec names no list, SourceMappingError where the answer is none or is empty,
    and what `SourceClient.fetch` raises.
    """
    spec = client.spec
    if spec.warehouses is None:
        raise ConfigurationError(
            f"source {spec.name} does not say how its warehouses are listed: name them (warehouses), or add "
            "the part `warehouses` to its spec, where the API lists them"
        )
    names = dict.fromkeys(await _read_all(client, spec.warehouses))
    if not names:
        raise SourceMappingError(
            f"{spec.name}: mapping: the source lists no warehouse: check warehouses.request and "
            "warehouses.path, and the rights of the token"
        )
    return list(names)


async def _read_all(client: SourceClient, listing: WarehousesSpec) -> list[str]:
    asked = _spec_of_list(client.spec, listing)
    requests, paging = Requests(asked, NO_WAREHOUSE, Window.everything()), asked.paging
    found: list[str] = []
    before: list[Any] | None = None
    cursor, offset = None, 0
    for _ in range(MAX_PAGES):
        ask = _ask(requests, paging, cursor, offset)
        page = await _fetch(client, listing, paging, ask, is_first=not found)
        if not page.names or page.records == before:
            return found
        found += page.names
        if paging.is_sequential and page.following is None:
            return found
        before, cursor, offset = page.records, page.following, offset + _step(paging, page)
    raise SourceMappingError(f"{asked.name}: mapping: the list of warehouses has no end: check its paging")


def _spec_of_list(spec: SourceSpec, listing: WarehousesSpec) -> SourceSpec:
    """The source, asked for its warehouses."""
    parts = {
        "request": listing.request,
        "paging": listing.paging or spec.paging,
        "order": OrderSpec(),
        "window": WindowSpec(),
    }
    return spec.model_copy(update=parts)


def _ask(requests: Requests, paging: PagingSpec, cursor: str | None, offset: int) -> Ask:
    size = paging.effective_page_size
    return requests.following(cursor, size) if paging.is_sequential else requests.page(offset, size)


def _step(paging: PagingSpec, page: _Page) -> int:
    """How far the next page lies: where pages are counted, a short one is still a page."""
    is_counted = paging.style == "page" and paging.page_counts == "pages"
    return paging.effective_page_size if is_counted else len(page.names)


async def _fetch(
    client: SourceClient, listing: WarehousesSpec, paging: PagingSpec, ask: Ask, *, is_first: bool
) -> _Page:
    decode = partial(_read_page, client.spec, listing, paging)
    try:
        answer = await client.fetch(client.build_request(ask), decode)
    except NoSuchPageError:  # past the end some APIs say so
        if is_first:
            raise
        return _Page([], [], None)
    page = answer.content
    if paging.following_path or not paging.is_sequential:
        return page
    return replace(page, following=_linked(answer.headers))


def _linked(headers: Mapping[str, str]) -> str | None:
    return httpx.Response(200, headers=headers).links.get("next", {}).get("url")


def _read_page(spec: SourceSpec, listing: WarehousesSpec, paging: PagingSpec, body: bytes) -> _Page:
    """Raises UnreadableBodyError where the body is not JSON, SourceMappingError where it lists nothing."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableBodyError(
            f"{spec.name}: the list of warehouses is not JSON: {quote(body)}"
        ) from error
    records = look_up(document, listing.path) if listing.path else document
    if not isinstance(records, list):
        raise SourceMappingError(
            f"{spec.name}: mapping: no list at warehouses.path {listing.path or '(the whole body)'}; "
            f"the answer begins: {quote(body)}"
        )
    names = [_name_of(spec, listing, record) for record in records]
    more = look_up(document, paging.more_path) if paging.more_path else True
    told = look_up(document, paging.following_path) if paging.following_path and more else None
    return _Page(records, names, str(told) if told else None)


def _name_of(spec: SourceSpec, listing: WarehousesSpec, record: Any) -> str:
    told = look_up(record, listing.field) if listing.field else record
    name = str(told) if isinstance(told, str | int) and not isinstance(told, bool) else ""
    if not 0 < len(name.strip()) <= len(name) <= MAX_ID:
        raise SourceMappingError(
            f"{spec.name}: mapping: no name at warehouses.field {listing.field or '(the record itself)'}; "
            f"the record is: {quote(json.dumps(record).encode())}"
        )
    return name

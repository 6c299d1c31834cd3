"""Reads the list of warehouses from a source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from sku_velocity.errors import ConfigurationError, SourceMappingError, UnreadableBodyError
from sku_velocity.model.movement import MAX_ID
from sku_velocity.model.run import NO_WAREHOUSE
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.envelope import Envelope, records_depth, records_in
from sku_velocity.source.mapping import look_up
from sku_velocity.source.page_json import dump, read_document
from sku_velocity.source.pages import Pages
from sku_velocity.source.requests import Requests
from sku_velocity.source.spec import OrderSpec, SourceSpec, WarehousesSpec, WindowSpec
from sku_velocity.text import quote


@dataclass(frozen=True)
class _Page:
    """One page of the list: the records as received, their names, and what follows."""

    records: list[Any]
    names: list[str]
    following: str | None
    more: bool | None
    lacks_following: bool
    is_null: bool


async def list_warehouses(client: SourceClient) -> list[str]:
    """Return the names of all warehouses that the source lists, without duplicates, in the source's order.

    Reads pages up to the end, which may also be a page that repeats at any position, as in an API that does
    not page its list. Raises
    ConfigurationError if the spec describes no list, SourceMappingError if the response is not a list or is
    empty, and what `SourceClient.fetch` raises.
    """
    spec = client.spec
    if spec.warehouses is None:
        raise ConfigurationError(
            f"source {spec.name} does not say how its warehouses are listed: name them (warehouses), or add "
            "the key `warehouses` to its spec if the API lists them"
        )
    names = dict.fromkeys(await _read_all(client, spec.warehouses))
    if not names:
        raise SourceMappingError(
            f"{spec.name}: mapping: the source lists no warehouse: check warehouses.request and "
            "warehouses.path, and the permissions of the token"
        )
    return list(names)


async def _read_all(client: SourceClient, listing: WarehousesSpec) -> list[str]:
    spec = _listing_spec(client.spec, listing)
    requests = Requests(spec, NO_WAREHOUSE, Window.everything())
    pages = Pages(client, requests, partial(_read_page, spec, listing, Envelope(spec)))
    return [name async for page in pages.all() for name in page.names]


def _listing_spec(spec: SourceSpec, listing: WarehousesSpec) -> SourceSpec:
    """Return the spec with the listing's request and paging, and a name that says so in messages."""
    parts = {
        "name": f"{spec.name}: list of warehouses",
        "request": listing.request,
        "paging": listing.paging or spec.paging,
        "order": OrderSpec(),
        "window": WindowSpec(),
    }
    return spec.model_copy(update=parts)


def _read_page(spec: SourceSpec, listing: WarehousesSpec, envelope: Envelope, body: bytes) -> _Page:
    """Parse a page. Raises UnreadableBodyError if it is not JSON, SourceMappingError if it has no list."""
    try:
        document = read_document(body, records_depth(listing.path))
        records = records_in(document, listing.path)
    except ValueError as error:
        raise UnreadableBodyError(f"{spec.name}: the response is not JSON: {quote(body)}") from error
    except (LookupError, TypeError) as error:
        raise SourceMappingError(
            f"{spec.name}: mapping: no list at warehouses.path {listing.path or '(the whole body)'}; "
            f"the response starts with: {quote(body)}"
        ) from error
    envelope.check_keys(body, listing.path)
    names = [_name_of(spec, listing, record) for record in records]
    is_unpaged = isinstance(document, list) and listing.paging is None  # although the movements are paged
    fields = envelope.of({}) if is_unpaged else envelope.of_document(document, body)
    lacks_following = is_unpaged or fields.lacks_following
    return _Page(records, names, fields.following, fields.more, lacks_following, document is None)


def _name_of(spec: SourceSpec, listing: WarehousesSpec, record: Any) -> str:
    value = look_up(record, listing.field) if listing.field else record
    name = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not 0 < len(name.strip()) <= len(name) <= MAX_ID:
        raise SourceMappingError(
            f"{spec.name}: mapping: no name at warehouses.field {listing.field or '(the record itself)'}; "
            f"the record is: {quote(dump(record).encode())}"
        )
    return name

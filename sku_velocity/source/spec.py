"""A source's dialect as data: how one API pages, counts, names, signs in and throttles."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import AnyHttpUrl, Field, JsonValue, ValidationError, field_validator, model_validator

from sku_velocity.errors import SpecError
from sku_velocity.http.spec import HeaderName, PaceSpec, TimeoutSpec, TlsSpec
from sku_velocity.source.fields import FieldsSpec, RecordFields, RowFilter, check_zone
from sku_velocity.source.item_fields import ItemsSpec
from sku_velocity.source.mapping import look_up
from sku_velocity.source.presets import with_preset
from sku_velocity.spec_file import DottedPath, Part, Scalar, format_errors, read_keys

PLACEHOLDERS = {"warehouse", "start", "end"}
TOKEN = "{token}"  # stands for the secret in auth.values


class RequestSpec(Part):
    """The request that asks for a page.

    In the path and in every text of params, headers and body, `{warehouse}` stands for the warehouse asked
    for, `{start}` and `{end}` for the window's bounds as `window` writes them.
    """

    method: Literal["GET", "POST"] = "GET"
    path: str = Field(default="/movements", description="Below base_url")
    params: dict[str, Scalar] = Field(default_factory=dict)
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    body: JsonValue = Field(default=None, description="The JSON body that a POST sends")

    @model_validator(mode="after")
    def _placeholders_are_known(self) -> Self:
        for name in re.findall(r"\{(\w+)\}", self._text):
            if name not in PLACEHOLDERS:
                known = ", ".join(f"{{{known}}}" for known in sorted(PLACEHOLDERS))
                raise ValueError(f"unknown placeholder {{{name}}}: known are {known}")
        return self

    @model_validator(mode="after")
    def _only_a_post_has_a_body(self) -> Self:
        if self.body is not None and self.method == "GET":
            raise ValueError("request.body needs request.method: POST")
        return self

    def names(self, placeholder: str) -> bool:
        """Whether the request holds this placeholder."""
        return f"{{{placeholder}}}" in self._text

    @property
    def names_warehouse(self) -> bool:
        """Whether the API itself is asked for one warehouse's records only."""
        return self.names("warehouse")

    @property
    def _text(self) -> str:
        return json.dumps([self.path, self.params, self.headers, self.body])


class PagingSpec(Part):
    """How the API is asked for one page after another. Sizes are records.

    `offset` and `page` ask for a place; `cursor` and `next_link` go on from what the last answer says at
    `cursor_path` or `next_path` (without it: in the header `Link`), and end where it says nothing, or where
    `more_path` is false. The parameters stand in the query, at dotted paths in the JSON body, or as a range
    of records in the header `range_header`.
    """

    style: Literal["offset", "page", "cursor", "next_link"] = "offset"
    place: Literal["query", "json_body", "range_header"] = Field(default="query", alias="in")
    offset_param: str = "offset"
    page_param: str = "page"
    page_counts: Literal["pages", "records"] = Field(
        default="pages",
        description="What page_param counts; records, where an offset must be a multiple of the page size",
    )
    limit_param: str | None = Field(default="limit", description="Empty where the API takes no page size")
    cursor_param: str = "cursor"
    cursor_path: DottedPath | None = None
    next_path: DottedPath | None = None
    more_path: DottedPath | None = None
    range_header: HeaderName = "Range"
    range_unit: str = Field(default="", description="Stands before the range with a =, as in items=0-24")
    page_size: int = Field(default=1000, ge=1, le=100_000)
    max_page_size: int | None = Field(default=None, ge=1)
    first: int = Field(default=0, ge=0, le=1, description="What the API calls the first record or page")
    overlap: int = Field(
        default=1, ge=0, le=100, description="Records of the page before that are read again, as proof"
    )

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if self.style == "cursor" and self.cursor_path is None:
            raise ValueError("paging.style: cursor needs paging.cursor_path")
        if self.place == "range_header" and self.style != "offset":
            raise ValueError("paging.in: range_header needs paging.style: offset")
        return self

    @property
    def effective_page_size(self) -> int:
        """Records per page, within what the API is known to allow."""
        return min(self.page_size, self.max_page_size or self.page_size)

    @property
    def effective_overlap(self) -> int:
        """Records that a page reads again of the one before: none where pages are asked for by number."""
        return min(self.overlap, self.effective_page_size - 1) if self.style == "offset" else 0

    @property
    def step(self) -> int:
        """Records by which one page lies beyond the one before it."""
        return self.effective_page_size - self.effective_overlap

    @property
    def following_path(self) -> str | None:
        """Where the body says to go on."""
        return self.cursor_path or self.next_path

    @property
    def is_sequential(self) -> bool:
        """Whether a page can be asked for only once the one before it has come."""
        return self.style in ("cursor", "next_link")


class CountRequest(Part):
    """The request that asks for the total. What is not given is as in `request`, without its paging."""

    method: Literal["GET", "POST"] | None = None
    path: str | None = None
    params: dict[str, Scalar] | None = None
    body: JsonValue = None


class TotalSpec(Part):
    """Where the API says how many records the window holds; `none`: the end is searched for.

    `content_range` reads the number behind the slash of the header `Content-Range`. `count_request` sends
    `request` and reads the number at `path`, or as the whole body.
    """

    source: Literal["none", "body", "header", "content_range", "count_request"] = Field(
        default="none", alias="from"
    )
    path: DottedPath | None = None
    header: HeaderName | None = None
    request: CountRequest | None = None

    @model_validator(mode="after")
    def _place_is_named(self) -> Self:
        if self.source == "body" and self.path is None:
            raise ValueError("total.from: body needs total.path")
        if self.source == "header" and self.header is None:
            raise ValueError("total.from: header needs total.header")
        if (self.source == "count_request") != (self.request is not None):
            raise ValueError("total.from: count_request and total.request need each other")
        return self


class RecordsSpec(Part):
    """Where in the body the list of records stands; empty: the body is the list.

    `error_path` is where an API that answers every call with success says what went wrong.
    """

    path: DottedPath | Literal[""] = ""
    error_path: DottedPath | None = None


class WarehousesSpec(Part):
    """How the API lists its warehouses: a request, the list's place in the body, and each one's name in it.

    Pages are asked for as those of the records are, unless `paging` says otherwise. With an empty `field`
    each record is a name.
    """

    request: RequestSpec = RequestSpec(path="/warehouses")
    paging: PagingSpec | None = None
    path: DottedPath | Literal[""] = ""
    field: DottedPath | Literal[""] = ""

    @model_validator(mode="after")
    def _asks_for_all_of_them(self) -> Self:
        if named := sorted(name for name in PLACEHOLDERS if self.request.names(name)):
            raise ValueError(f"warehouses.request must not hold {{{named[0]}}}: it asks for all of them")
        return self


class OrderSpec(Part):
    """The parameters that make the API answer in a fixed, ascending order."""

    params: dict[str, Scalar] = Field(default_factory=dict)


class WindowParams(Part):
    """The parameters of the query that ask for a window's bounds."""

    start: str | None = None
    end: str | None = None


class WindowSpec(Part):
    """How the API is asked for one window: by parameters, or by `{start}` and `{end}` in the request.

    Bounds are written as `iso`, `date`, `epoch_s`, `epoch_ms` or a strftime pattern, in `timezone`. An API
    that compares with > or < instead of >= or <= has `start_inclusive: false` or `end_inclusive: false`;
    `pad_seconds` asks for more at both ends. What is asked for is never less than the window; what is
    beyond it is trimmed.
    """

    params: WindowParams = WindowParams()
    format: str = Field(default="iso", pattern=r"^(iso|date|epoch_s|epoch_ms|.*%.*)$")
    timezone: str = "UTC"
    start_inclusive: bool = True
    end_inclusive: bool = False
    pad_seconds: float = Field(default=0, ge=0)

    @field_validator("timezone")
    @classmethod
    def _zone_is_known(cls, name: str) -> str:
        return check_zone(name)


class AuthSpec(Part):
    """How the secret is shown to the API. The secret itself is never in a spec.

    `basic` signs with `username` and the secret as password (without a username, the secret is
    `user:password`). `oauth2_client_credentials` fetches a token from `token_url` with `client_id` and the
    secret, and shows that (RFC 6749, 4.4). `json_body` sets `values` in the request's JSON body, by dotted
    path, the secret where a value is `{token}`.
    """

    kind: Literal["none", "bearer", "header", "basic", "oauth2_client_credentials", "json_body"] = "bearer"
    header: HeaderName = "X-API-Key"
    prefix: str = Field(default="", description="Stands before the secret in a named header")
    username: str | None = None
    token_url: AnyHttpUrl | None = None
    client_id: str | None = None
    scope: str | None = None
    client_auth: Literal["basic", "body"] = Field(
        default="basic", description="Where the token request shows client id and secret"
    )
    values: dict[DottedPath, str | int] = Field(
        default_factory=dict, description=f"What to set in the body, at least one of them {TOKEN}"
    )

    @model_validator(mode="after")
    def _oauth_is_described(self) -> Self:
        if self.kind == "oauth2_client_credentials" and not (self.token_url and self.client_id):
            raise ValueError("auth.kind: oauth2_client_credentials needs auth.token_url and auth.client_id")
        return self

    @model_validator(mode="after")
    def _body_shows_the_secret(self) -> Self:
        if self.kind == "json_body" and TOKEN not in self.values.values():
            raise ValueError(f"auth.kind: json_body needs auth.values, one of them {TOKEN}")
        return self


class ThrottleSpec(Part):
    """How the API says "slow down": by a status, and by a header that tells the wait.

    An API that answers everything with 200 says its status in the body, at `body_status_path`.
    """

    statuses: frozenset[int] = frozenset({429, 503})
    retry_after_headers: tuple[HeaderName, ...] = ("Retry-After",)
    body_status_path: DottedPath | None = None


class SourceSpec(Part):
    """One API of one system: of a WMS's movements or, where `items` is given, of an ERP's items."""

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="Lower case, digits and dashes")
    base_url: AnyHttpUrl
    request: RequestSpec = RequestSpec()
    paging: PagingSpec = PagingSpec()
    total: TotalSpec = TotalSpec()
    records: RecordsSpec = RecordsSpec()
    warehouses: WarehousesSpec | None = Field(default=None, description="How the API lists its warehouses")
    order: OrderSpec = OrderSpec()
    window: WindowSpec = WindowSpec()
    auth: AuthSpec = AuthSpec()
    tls: TlsSpec = TlsSpec()
    pace: PaceSpec = PaceSpec()
    throttle: ThrottleSpec = ThrottleSpec()
    timeouts: TimeoutSpec = TimeoutSpec()
    fields: FieldsSpec = FieldsSpec()
    items: ItemsSpec | None = Field(default=None, description="The fields of an item, for a master of SKUs")
    filter: tuple[RowFilter, ...] = Field(default=(), description="What every movement, or item, keeps")

    @model_validator(mode="after")
    def _url_holds_no_secret(self) -> Self:
        if self.base_url.username or self.base_url.password:
            raise ValueError("base_url must not carry a user or password: give the secret as the token")
        return self

    @model_validator(mode="after")
    def _bodies_have_a_place_for_the_secret(self) -> Self:
        count = self.total.request
        bodies = [self.request.body, *([count.body] if count and count.body is not None else [])]
        bodies += [self.warehouses.request.body] if self.warehouses else []
        for path in self.auth.values if self.auth.kind == "json_body" else ():
            if any(look_up(body, path) is None for body in bodies):
                raise ValueError(
                    f"auth.values: there is no {path} in the body: let request.body (and those of total and "
                    "warehouses, if given) hold a text or number there, which the value then replaces"
                )
        return self

    @model_validator(mode="after")
    def _total_has_an_envelope(self) -> Self:
        if self.total.source == "body" and not self.records.path:
            raise ValueError("total.from: body needs an envelope, and so records.path: a bare list has none")
        return self

    @model_validator(mode="after")
    def _records_are_of_one_kind(self) -> Self:
        if self.items is not None and self.fields != FieldsSpec():
            raise ValueError("give fields for a source of movements, or items for a master, not both")
        return self

    @property
    def record(self) -> RecordFields:
        """The fields of the records that the source holds: movements, or items."""
        return self.items or self.fields

    @property
    def has_window(self) -> bool:
        """Whether the API can be asked for one window."""
        params = self.window.params
        return bool(params.start or params.end) or self.request.names("start") or self.request.names("end")

    @property
    def url(self) -> str:
        """The address that pages are asked from, still with its placeholders."""
        return str(self.base_url).rstrip("/") + "/" + self.request.path.lstrip("/")


def parse_spec(data: Mapping[str, Any], origin: str) -> SourceSpec:
    """A spec from plain data, with the `preset` that it names below it.

    Raises SpecError that names `origin`, every wrong field and its rule.
    """
    try:
        return SourceSpec.model_validate(with_preset(data))
    except ValidationError as error:
        raise SpecError(f"{origin} is not a source spec: {format_errors(error)}") from error


def load_spec(path: Path) -> SourceSpec:
    """A spec from a YAML file. Raises SpecError where it cannot be read or is wrong."""
    return parse_spec(read_keys(path, "source spec"), str(path))

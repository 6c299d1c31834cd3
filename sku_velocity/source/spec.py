"""A source's spec: how one API pages, counts, names fields, authenticates and throttles."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    Field,
    JsonValue,
    Strict,
    ValidationError,
    field_validator,
    model_validator,
)

from sku_velocity.errors import SpecError
from sku_velocity.http.spec import HeaderName, PaceSpec, TimeoutSpec, TlsSpec
from sku_velocity.model.activity import ALL_TYPES
from sku_velocity.model.movement import MAX_ID
from sku_velocity.model.sku import PRINTABLE
from sku_velocity.model.window_grid import WindowGrid
from sku_velocity.source.comparison import comparison_keys
from sku_velocity.source.fields import FieldsSpec, RecordFields, RowFilter, check_zone
from sku_velocity.source.item_fields import ItemsSpec
from sku_velocity.source.mapping import UNIT, look_up
from sku_velocity.source.presets import with_preset
from sku_velocity.source.time_format import TimeFormat
from sku_velocity.spec_errors import format_errors, line_of, suggestion
from sku_velocity.spec_file import DottedPath, Part, Scalar, read_spec

GRAINS = {"second": timedelta(seconds=1), "minute": timedelta(minutes=1), "day": timedelta(days=1)}
PLACEHOLDERS = {"warehouse", "warehouse:number", "start", "end"}
SECRET_HEADERS = {"authorization", "proxy-authorization", "cookie"}
EXTRA = "extra."  # precedes the name of an extra field
TypeName = Annotated[str, Field(pattern=PRINTABLE, max_length=MAX_ID)]
TypeValue = Annotated[str, Field(min_length=1)] | Annotated[int, Strict()] | Annotated[float, Strict()]
ExtraName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
TOKEN = "{token}"  # the placeholder of the secret in auth.values


def _check_path(path: str) -> str:
    if found := re.search(r"[?#]", path):
        raise ValueError(f"must not contain {found[0]}: set the query in request.params")
    if "://" in path:
        raise ValueError("must be a path below base_url: set scheme and host in base_url, not here")
    return path


UrlPath = Annotated[str, AfterValidator(_check_path)]


class RequestSpec(Part):
    """The request for a page.

    In the path and in every string of params, headers and body, `{warehouse}` is replaced by the warehouse,
    and `{start}` and `{end}` by the window's bounds in the format of `window`. `{warehouse:number}` is
    replaced by the warehouse if it is a number; a string that is exactly this becomes a JSON number.
    A placeholder in a quoted literal of another language, as in `Plant eq '{warehouse}'`, is escaped for the
    language that `literals` names.
    """

    method: Literal["GET", "POST"] = "GET"
    path: UrlPath = Field(default="/movements", description="Relative to base_url, without a query")
    params: dict[str, Scalar] = Field(default_factory=dict)
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    body: JsonValue = Field(default=None, description="The JSON body of a POST request")
    literals: Literal["odata", "sql", "json"] | None = Field(
        default=None,
        description="The language whose quoted literals contain placeholders, which are escaped for it",
    )

    @model_validator(mode="after")
    def _placeholders_are_known(self) -> Self:
        for name in re.findall(r"\{(\w+(?::\w+)?)\}", self._text):
            if name not in PLACEHOLDERS:
                known = ", ".join(f"{{{known}}}" for known in sorted(PLACEHOLDERS))
                question = suggestion(name, PLACEHOLDERS) or f"use one of {known}"
                raise ValueError(f"unknown placeholder {{{name}}}: {question}")
        return self

    @model_validator(mode="after")
    def _headers_hold_no_secret(self) -> Self:
        if secret := [name for name in self.headers if name.lower() in SECRET_HEADERS]:
            raise ValueError(
                f"request.headers.{secret[0]} would put a secret into the file: remove it, and set auth, as "
                "in auth: {kind: bearer} or auth: {kind: header, header: Authorization, prefix: 'Token '}"
            )
        return self

    @model_validator(mode="after")
    def _only_a_post_has_a_body(self) -> Self:
        if self.body is not None and self.method == "GET":
            raise ValueError("request.body needs request.method: POST")
        return self

    def names(self, placeholder: str) -> bool:
        """Return True if the request contains this placeholder."""
        return f"{{{placeholder}}}" in self._text

    @property
    def names_warehouse(self) -> bool:
        """Whether the request restricts the API to one warehouse's records."""
        return self.names("warehouse") or self.names("warehouse:number")

    @property
    def _text(self) -> str:
        return json.dumps([self.path, self.params, self.headers, self.body])


class PagingSpec(Part):
    """How the API pages. Sizes are in records.

    `offset` and `page` request a position; `cursor` and `next_link` continue from the value that the last
    response has at `cursor_path` or `next_path` (if not set: in the `Link` header), and end if it is empty or
    `more_path` is false. The parameters are in the query, at dotted paths in the JSON body, or a range of
    records in the header `range_header`.
    """

    style: Literal["offset", "page", "cursor", "next_link"] = "offset"
    place: Literal["query", "json_body", "range_header"] = Field(default="query", alias="in")
    offset_param: str = "offset"
    page_param: str = "page"
    page_counts: Literal["pages", "records"] = Field(
        default="pages",
        description="What page_param counts; use records if an offset must be a multiple of the page size",
    )
    limit_param: str | None = Field(default="limit", description="Null if the API takes no page size")
    cursor_param: str = "cursor"
    cursor_path: DottedPath | None = None
    next_path: DottedPath | None = None
    more_path: DottedPath | None = None
    range_header: HeaderName = "Range"
    range_unit: str = Field(default="", description="Precedes the range and a =, as in items=0-24")
    page_size: int = Field(default=1000, ge=1, le=100_000)
    max_page_size: int | None = Field(default=None, ge=1)
    pages_per_chunk: int | None = Field(
        default=None,
        ge=1,
        description="Pages per chunk, which is a task run and a row of the report; by default more of them "
        "the longer the window",
    )
    first: int = Field(default=0, ge=0, le=1, description="Number of the first record or page in the API")
    overlap: int = Field(
        default=1, ge=0, le=100, description="Records of the previous page to reread, as proof"
    )
    proof: Literal["seams", "reread", "ends"] | None = Field(
        default=None,
        description="How numbered pages are proven: a small page for each border, a second reading, or not",
    )
    stable: bool = Field(default=False, description="The cursor is a keyset or a snapshot")

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if self.style == "cursor" and self.cursor_path is None:
            raise ValueError("paging.style: cursor needs paging.cursor_path")
        if self.place == "range_header" and self.style != "offset":
            raise ValueError("paging.in: range_header needs paging.style: offset")
        if self.proof is not None and self.style != "page":
            raise ValueError("paging.proof is for paging.style: page")
        if self.proof == "seams" and self.limit_param is None:
            raise ValueError("paging.proof: seams needs paging.limit_param: without it use reread")
        if self.stable and not self.is_sequential:
            raise ValueError("paging.stable is for paging.style: cursor and next_link")
        return self

    @property
    def effective_page_size(self) -> int:
        """The number of records per page, within the API's known limit."""
        return min(self.page_size, self.max_page_size or self.page_size)

    @property
    def effective_overlap(self) -> int:
        """The number of records of the previous page that a page rereads: 0 for numbered pages."""
        return min(self.overlap, self.effective_page_size - 1) if self.style == "offset" else 0

    @property
    def step(self) -> int:
        """The number of records from the start of one page to the start of the next."""
        return self.effective_page_size - self.effective_overlap

    @property
    def following_path(self) -> str | None:
        """The path in the body of the next cursor or link."""
        return self.cursor_path or self.next_path

    @property
    def named_params(self) -> dict[str, str]:
        """The parameters that are sent, by the key of the spec that names each."""
        if self.place == "range_header":
            return {}
        position = {"offset": self.offset_param, "page": self.page_param, "cursor": self.cursor_param}
        named = {f"{self.style}_param": position.get(self.style), "limit_param": self.limit_param}
        return {key: name for key, name in named.items() if name is not None}

    @property
    def is_sequential(self) -> bool:
        """Whether a page can be requested only after the one before it has been received."""
        return self.style in ("cursor", "next_link")


class CountRequest(Part):
    """The request for the total. Omitted keys are as in `request`, without its paging."""

    method: Literal["GET", "POST"] | None = None
    path: UrlPath | None = None
    params: dict[str, Scalar] | None = None
    body: JsonValue = None


class TotalSpec(Part):
    """Where the API reports the number of records in the window; `none`: the end is searched for.

    `content_range` reads the number after the slash of the `Content-Range` header. `count_request` sends
    `request` and reads the number at `path`, or the whole body as the number.
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
    """The path of the list of records in the body; empty: the body is the list.

    `error_path` is the path of the error message in an API that always returns a success status. If the
    status does not show that the token is wrong, `auth_errors` lists the values at `auth_error_path` that do.
    """

    path: DottedPath | Literal[""] = ""
    error_path: DottedPath | None = None
    auth_error_path: DottedPath | None = None
    auth_errors: tuple[Scalar, ...] = Field(default=(), description="Values that mean a wrong token")

    @model_validator(mode="after")
    def _auth_errors_have_a_path(self) -> Self:
        if bool(self.auth_errors) != (self.auth_error_path is not None):
            raise ValueError("records.auth_errors and records.auth_error_path need each other")
        return self


class WarehousesSpec(Part):
    """How the API lists its warehouses: the request, the path of the list, and the field of the name.

    Pages are requested like pages of records, unless `paging` is set. With an empty `field` each record is
    itself a name.
    """

    request: RequestSpec = RequestSpec(path="/warehouses")
    paging: PagingSpec | None = None
    path: DottedPath | Literal[""] = ""
    field: DottedPath | Literal[""] = ""

    @model_validator(mode="after")
    def _asks_for_all_of_them(self) -> Self:
        if named := sorted(name for name in PLACEHOLDERS if self.request.names(name)):
            raise ValueError(f"warehouses.request must not contain {{{named[0]}}}: it lists all warehouses")
        return self


class OrderSpec(Part):
    """The parameters that make the API return records in a fixed, ascending order.

    `stable` declares that it does so without parameters, by itself or because the body asks for it.
    """

    params: dict[str, Scalar] = Field(default_factory=dict)
    stable: bool = False

    @property
    def is_declared(self) -> bool:
        """Whether records are known to come in a fixed order."""
        return self.stable or bool(self.params)


class LimitsSpec(Part):
    """What a window may lack and still be published.

    A window is refused if more than `max_reject_ratio` of its validated records are rejects and they are more
    than `max_rejects`; the latter applies only if at least half of the validated records loaded.
    """

    max_reject_ratio: float | None = Field(default=None, ge=0, le=1, description="Default: the flow's, 0.05")
    max_rejects: int = Field(default=10, ge=0)
    empty_is_normal: bool = Field(
        default=False, description="Every record of a window may be trimmed or filtered"
    )
    require_proof: bool = Field(default=False, description="Publish nothing that cannot be proven whole")


class WindowParams(Part):
    """The query parameters for a window's bounds."""

    start: str | None = None
    end: str | None = None


class WindowSpec(Part):
    """How a window is requested: by parameters, or by `{start}` and `{end}` in the request.

    Bounds are formatted as `iso`, `date`, `epoch_s`, `epoch_ms` or a pattern such as `%d.%m.%Y %H:%M`, in
    `timezone`. For an API that compares with > or < instead of >= or <=, set `start_inclusive: false` or
    `end_inclusive: false`; `pad_seconds` extends the request at both ends. A request is never smaller than
    the window; records outside the window are trimmed.

    `grain` is that of the records' timestamps: `day` if they have only a date. A window that is finer would
    miss rows that are dated before it, so it is refused.
    """

    params: WindowParams = WindowParams()
    format: str = Field(default="iso", pattern=r"^(iso|date|epoch_s|epoch_ms|.*%.*)$")
    timezone: str = "UTC"
    start_inclusive: bool = True
    end_inclusive: bool = False
    pad_seconds: float = Field(default=0, ge=0, le=366 * 86_400)
    grain: Literal["second", "minute", "day"] = "second"

    @field_validator("timezone")
    @classmethod
    def _zone_is_known(cls, name: str) -> str:
        return check_zone(name)

    @model_validator(mode="after")
    def _format_round_trips(self) -> Self:
        if "%" in self.format:
            time_format, zone = TimeFormat.of(self.format), ZoneInfo(self.timezone)
            time_format.check_round_trip(zone)
            time_format.check_literals(zone, "window.timezone")
        return self


class ChangesSpec(Part):
    """How the API is asked for the records that were added or changed since an instant.

    `params` are query parameters that a request has besides those for a window. `{since}` in them is replaced
    by the instant, in the format of `window`.
    """

    params: dict[str, Scalar] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_since(self) -> Self:
        texts = json.dumps(list(self.params.values()))
        if "{since}" not in texts:
            raise ValueError("changes.params must contain {since}, the instant since which records changed")
        for name in re.findall(r"\{(\w+(?::\w+)?)\}", texts):
            if name not in PLACEHOLDERS | {"since"}:
                raise ValueError(f"changes.params: unknown placeholder {{{name}}}: use {{since}}")
        return self


class AuthSpec(Part):
    """How requests authenticate. The secret itself is never in a spec.

    `basic` uses `username` and the secret as password (without a username, the secret is `user:password`).
    `oauth2_client_credentials` fetches a token from `token_url` with `client_id` and the secret, and sends
    that (RFC 6749, 4.4). `json_body` sets `values` in the request's JSON body, by dotted path; a value of
    `{token}` is replaced by the secret.
    """

    kind: Literal["none", "bearer", "header", "basic", "oauth2_client_credentials", "json_body"] = "bearer"
    header: HeaderName = "X-API-Key"
    prefix: str = Field(default="", description="Precedes the secret in the header")
    username: str | None = None
    token_url: AnyHttpUrl | None = None
    client_id: str | None = None
    scope: str | None = None
    client_auth: Literal["basic", "body"] = Field(
        default="basic", description="How the token request sends client id and secret"
    )
    values: dict[DottedPath, Scalar] = Field(
        default_factory=dict, description=f"Values to set in the body, at least one of them {TOKEN}"
    )

    @model_validator(mode="after")
    def _oauth_is_described(self) -> Self:
        if self.kind == "oauth2_client_credentials" and not (self.token_url and self.client_id):
            raise ValueError("auth.kind: oauth2_client_credentials needs auth.token_url and auth.client_id")
        return self

    @model_validator(mode="after")
    def _body_contains_the_secret(self) -> Self:
        if self.kind == "json_body" and TOKEN not in self.values.values():
            raise ValueError(f"auth.kind: json_body needs auth.values, one of them {TOKEN}")
        return self


class ThrottleSpec(Part):
    """How the API throttles: by a status, and by a header with the time to wait.

    For an API that always returns HTTP 200, `body_status_path` is the path of the status in the body.
    """

    statuses: frozenset[int] = frozenset({429, 503})
    retry_after_headers: tuple[HeaderName, ...] = ("Retry-After",)
    body_status_path: DottedPath | None = None


class SourceSpec(Part):
    """One API of one system: of a WMS's movements or, if `items` is given, of an ERP's items."""

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="Lowercase letters, digits and dashes")
    base_url: AnyHttpUrl
    request: RequestSpec = RequestSpec()
    paging: PagingSpec = PagingSpec()
    total: TotalSpec = TotalSpec()
    records: RecordsSpec = RecordsSpec()
    warehouses: WarehousesSpec | None = Field(default=None, description="How the API lists its warehouses")
    order: OrderSpec = OrderSpec()
    limits: LimitsSpec = LimitsSpec()
    window: WindowSpec = WindowSpec()
    changes: ChangesSpec | None = Field(default=None, description="How the API reports changed records")
    auth: AuthSpec = AuthSpec()
    tls: TlsSpec = TlsSpec()
    pace: PaceSpec = PaceSpec()
    throttle: ThrottleSpec = ThrottleSpec()
    timeouts: TimeoutSpec = TimeoutSpec()
    fields: FieldsSpec = FieldsSpec()
    types: dict[TypeName, tuple[TypeValue, ...]] = Field(
        default={}, description="Movement types, each with the source's words for it; others are kept"
    )
    extra: dict[ExtraName, DottedPath] = Field(
        default={}, description="Other fields to store, as one JSON object of at most 4 KiB"
    )
    items: ItemsSpec | None = Field(default=None, description="The fields of an item, for an SKU master")
    filter: tuple[RowFilter, ...] = Field(default=(), description="Conditions on every movement or item")

    @model_validator(mode="after")
    def _url_holds_no_secret(self) -> Self:
        if self.base_url.username or self.base_url.password:
            raise ValueError("base_url must not contain a user or password: set the secret as the token")
        return self

    @model_validator(mode="after")
    def _url_has_no_query(self) -> Self:
        if self.base_url.query is not None or self.base_url.fragment is not None:
            raise ValueError("base_url must not contain ? or #: set the query in request.params")
        return self

    @model_validator(mode="after")
    def _bodies_have_a_place_for_the_secret(self) -> Self:
        count = self.total.request
        bodies = [self.request.body, *([count.body] if count and count.body is not None else [])]
        bodies += [self.warehouses.request.body] if self.warehouses else []
        for path in self.auth.values if self.auth.kind == "json_body" else ():
            if any(look_up(body, path) is None for body in bodies):
                raise ValueError(
                    f"auth.values: there is no {path} in the body: put a string or number there in "
                    "request.body (and those of total and warehouses, if given) for the value to replace"
                )
        return self

    @model_validator(mode="after")
    def _total_has_an_envelope(self) -> Self:
        if self.total.source == "body" and not self.records.path:
            raise ValueError("total.from: body needs an envelope: set records.path")
        return self

    @model_validator(mode="after")
    def _parameters_differ(self) -> Self:
        bounds = self.window.params
        _check_params_differ(
            {f"request.params.{name}": name for name in self.request.params}
            | {f"order.params.{name}": name for name in self.order.params}
            | {f"window.params.{key}": name for key, name in bounds if name}
            | {f"changes.params.{name}": name for name in (self.changes.params if self.changes else ())},
            "paging",
            self.paging,
        )
        if self.warehouses:
            place = "warehouses.paging" if self.warehouses.paging else "paging"
            _check_params_differ(
                {f"warehouses.request.params.{name}": name for name in self.warehouses.request.params},
                place,
                self.warehouses.paging or self.paging,
            )
        return self

    @model_validator(mode="after")
    def _records_are_of_one_kind(self) -> Self:
        if self.items is not None and (self.fields != FieldsSpec() or self.types or self.extra):
            raise ValueError("give fields for a source of movements, or items for a master, not both")
        return self

    @model_validator(mode="after")
    def _types_differ(self) -> Self:
        if self.types and self.fields.movement_type is None:
            raise ValueError("types needs fields.movement_type: the path of the source's word for the type")
        if ALL_TYPES in self.types:
            raise ValueError(f"types: {ALL_TYPES} cannot be a type's name: it means every type")
        named = [key for values in self.types.values() for value in values for key in comparison_keys(value)]
        if twice := sorted({str(key) for key in named if named.count(key) > 1}):
            raise ValueError(f"types: {', '.join(twice)} is listed twice: a number equals its text")
        return self

    @property
    def record(self) -> RecordFields:
        """The fields of the source's records: of movements or of items."""
        return self.items or self.fields

    @property
    def inputs(self) -> dict[str, DottedPath]:
        """What is read beside the fields: paths by the key that they have in a mapped record."""
        unit = self.fields.units_moved.unit_path
        extra = {f"{EXTRA}{name}": path for name, path in sorted(self.extra.items())}
        return ({UNIT: unit} if unit else {}) | extra

    @property
    def type_names(self) -> dict[object, str]:
        """The movement type by each key of the source's words for it."""
        listed = ((value, name) for name, values in self.types.items() for value in values)
        return {key: name for value, name in listed for key in comparison_keys(value)}

    @property
    def has_ids(self) -> bool:
        """Whether each record has an id: of a movement if it is mapped, of an item always."""
        return self.items is not None or self.fields.movement_id is not None

    @property
    def has_window(self) -> bool:
        """Whether the API can be asked for a window."""
        return any(self.sent_bounds)

    @property
    def sent_bounds(self) -> tuple[bool, bool]:
        """Whether a request contains the window's start, and its end."""
        params, request = self.window.params, self.request
        return bool(params.start) or request.names("start"), bool(params.end) or request.names("end")

    @property
    def grain(self) -> WindowGrid:
        """The borders that a window may have. Days are those of the zone of the timestamps."""
        zone = self.fields.timestamp_utc.assume_timezone or self.window.timezone
        step = GRAINS[self.window.grain]
        return WindowGrid(step, ZoneInfo(zone)) if self.window.grain == "day" else WindowGrid(step)

    @property
    def url(self) -> str:
        """The URL of pages, with its placeholders."""
        return str(self.base_url).rstrip("/") + "/" + self.request.path.lstrip("/")


def _check_params_differ(params: dict[str, str], place: str, paging: PagingSpec) -> None:
    """Raise ValueError if two keys of a spec name the same parameter: only one would be sent."""
    paged = {f"{place}.{key}": name for key, name in paging.named_params.items()}
    for named in [params, paged] if paging.place == "json_body" else [params | paged]:
        first: dict[str, str] = {}
        for key, name in named.items():
            if (other := first.setdefault(name, key)) != key:
                raise ValueError(f"{other} and {key} are both {name}: give each its own parameter")


def parse_spec(data: Mapping[str, Any], origin: str, text: str = "") -> SourceSpec:
    """Build a spec from plain data, on top of the `preset` it names; `text` is that of its file.

    Raises a SpecError that names `origin`, every wrong field with its line, and its rule.
    """
    try:
        return SourceSpec.model_validate(with_preset(data))
    except ValidationError as error:
        reasons = format_errors(error, SourceSpec, data, text)
        raise SpecError(f"{origin} is not a source spec: {reasons}") from error
    except SpecError as error:
        raise SpecError(f"{origin}: {line_of(text, 'preset')}{error}") from None


def load_spec(path: Path) -> SourceSpec:
    """Load a spec from a YAML file. Raises SpecError if it cannot be read or is invalid."""
    file = read_spec(path, "source spec")
    return parse_spec(file.data, str(path), file.text)

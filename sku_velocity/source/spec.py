"""A source's dialect as data: how one API pages, counts, names, signs in and throttles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, ValidationError, model_validator

from sku_velocity.errors import SpecError

DottedPath = Annotated[str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)*$", description="Keys joined by dots")]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]
Scalar = str | int | float | bool

PLACEHOLDERS = {"warehouse"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RequestSpec(_Part):
    """The request that asks for a page. `{warehouse}` in a value stands for the warehouse asked for."""

    method: Literal["GET"] = "GET"
    path: str = Field(default="/movements", description="Below base_url")
    params: dict[str, Scalar] = Field(default_factory=dict)
    headers: dict[HeaderName, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _placeholders_are_known(self) -> Self:
        texts = [value for value in self.params.values() if isinstance(value, str)]
        for name in re.findall(r"\{(\w*)\}", " ".join([*texts, *self.headers.values(), self.path])):
            if name not in PLACEHOLDERS:
                raise ValueError(f"unknown placeholder {{{name}}}: known are {{warehouse}}")
        return self

    @property
    def names_warehouse(self) -> bool:
        """Whether the API itself is asked for one warehouse's records only."""
        texts = [value for value in self.params.values() if isinstance(value, str)]
        return any("{warehouse}" in text for text in [*texts, *self.headers.values(), self.path])


class PagingSpec(_Part):
    """How the API is asked for the records from an offset on. Sizes are records."""

    style: Literal["offset"] = "offset"
    offset_param: str = "offset"
    limit_param: str = "limit"
    page_size: int = Field(default=1000, ge=1, le=100_000)
    max_page_size: int | None = Field(default=None, ge=1)
    first: int = Field(default=0, ge=0, le=1, description="What the API calls the first record")

    @property
    def effective_page_size(self) -> int:
        """Records per page, within what the API is known to allow."""
        return min(self.page_size, self.max_page_size or self.page_size)


class TotalSpec(_Part):
    """Where the API says how many records the window holds; `none`: the end is searched for."""

    source: Literal["none", "body", "header"] = Field(default="none", alias="from")
    path: DottedPath | None = None
    header: HeaderName | None = None

    @model_validator(mode="after")
    def _place_is_named(self) -> Self:
        if self.source == "body" and self.path is None:
            raise ValueError("total.from: body needs total.path")
        if self.source == "header" and self.header is None:
            raise ValueError("total.from: header needs total.header")
        return self


class RecordsSpec(_Part):
    """Where in the body the list of records stands; empty: the body is the list."""

    path: DottedPath | Literal[""] = ""


class OrderSpec(_Part):
    """The parameters that make the API answer in a fixed, ascending order."""

    params: dict[str, Scalar] = Field(default_factory=dict)


class WindowParams(_Part):
    start: str | None = None
    end: str | None = None


class WindowSpec(_Part):
    """The parameters that ask for one window. None of them: the API cannot be asked for a window."""

    params: WindowParams = WindowParams()
    format: Literal["iso"] = "iso"

    @property
    def is_supported(self) -> bool:
        return self.params.start is not None or self.params.end is not None


class AuthSpec(_Part):
    """How the secret is shown to the API. The secret itself is never in a spec."""

    kind: Literal["none", "bearer", "header"] = "bearer"
    header: HeaderName = "X-API-Key"
    prefix: str = Field(default="", description="Stands before the secret in a named header")


class PaceSpec(_Part):
    """What the API allows: requests/s, requests in flight, and how many may start at once."""

    requests_per_second: float = Field(default=20, gt=0, le=10_000)
    max_concurrency: int = Field(default=12, ge=1, le=1_000)
    burst: int = Field(default=1, ge=1)


class ThrottleSpec(_Part):
    """How the API says "slow down"."""

    statuses: frozenset[int] = frozenset({429, 503})
    retry_after_headers: tuple[HeaderName, ...] = ("Retry-After",)


class TimeoutSpec(_Part):
    """Limits of one request, in seconds, and of one page, in bytes."""

    connect: float = Field(default=10, gt=0)
    read: float = Field(default=15, gt=0)
    total: float = Field(default=30, gt=0)
    keepalive_expiry: float = Field(default=15, gt=0)
    max_page_bytes: int = Field(default=32 * 2**20, ge=1024)


class FieldsSpec(_Part):
    """Where in a record each field of a movement stands."""

    sku_id: DottedPath = "sku_id"
    warehouse_id: DottedPath = "warehouse_id"
    units_moved: DottedPath = "units_moved"
    timestamp_utc: DottedPath = "timestamp_utc"
    movement_id: DottedPath | None = None


class SourceSpec(_Part):
    """One API of one system."""

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="Lower case, digits and dashes")
    base_url: AnyHttpUrl
    request: RequestSpec = RequestSpec()
    paging: PagingSpec = PagingSpec()
    total: TotalSpec = TotalSpec()
    records: RecordsSpec = RecordsSpec()
    order: OrderSpec = OrderSpec()
    window: WindowSpec = WindowSpec()
    auth: AuthSpec = AuthSpec()
    pace: PaceSpec = PaceSpec()
    throttle: ThrottleSpec = ThrottleSpec()
    timeouts: TimeoutSpec = TimeoutSpec()
    fields: FieldsSpec = FieldsSpec()

    @model_validator(mode="after")
    def _url_holds_no_secret(self) -> Self:
        if self.base_url.username or self.base_url.password:
            raise ValueError("base_url must not carry a user or password: give the secret as the token")
        return self

    @model_validator(mode="after")
    def _total_has_an_envelope(self) -> Self:
        if self.total.source == "body" and not self.records.path:
            raise ValueError("total.from: body needs an envelope, and so records.path: a bare list has none")
        return self

    @property
    def url(self) -> str:
        """The address that pages are asked from, still with its placeholders."""
        return str(self.base_url).rstrip("/") + "/" + self.request.path.lstrip("/")


def parse_spec(data: Mapping[str, Any], origin: str) -> SourceSpec:
    """A spec from plain data. Raises SpecError that names `origin`, every wrong field and its rule."""
    try:
        return SourceSpec.model_validate(data)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc'])) or 'spec'}: {e['msg']}" for e in error.errors()]
        raise SpecError(f"{origin} is not a source spec: {'; '.join(faults)}") from error


def load_spec(path: Path) -> SourceSpec:
    """A spec from a YAML file. Raises SpecError where it cannot be read or is wrong."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} is not YAML: {error}") from error
    if not isinstance(data, dict):
        raise SpecError(f"{path} is not a source spec: it must hold keys such as name and base_url")
    return parse_spec(data, str(path))

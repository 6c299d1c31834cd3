"""A slotting engine as data: where it is, and how it wants to be sent records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import AnyHttpUrl, Field, ValidationError, model_validator

from sku_velocity.errors import SpecError
from sku_velocity.http.spec import HeaderName, PaceSpec, TimeoutSpec, TlsSpec
from sku_velocity.spec_file import Part, format_errors, read_keys


class EngineSpec(Part):
    """One slotting engine. The secret is never in this file.

    `name` is what the store remembers it by: under another name, everything is pushed to it again.
    """

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="Lower case, digits and dashes")
    base_url: AnyHttpUrl
    movements_path: str = Field(default="/movements", description="Where movements are sent, below base_url")
    classes_path: str = Field(default="/classes", description="Where velocity classes are sent")
    batch_size: int = Field(default=500, ge=1, le=10_000, description="Records in a request, at most")
    idempotency_header: HeaderName = "Idempotency-Key"
    tls: TlsSpec = TlsSpec()
    pace: PaceSpec = PaceSpec(requests_per_second=10)
    timeouts: TimeoutSpec = TimeoutSpec()

    @model_validator(mode="after")
    def _url_holds_no_secret(self) -> Self:
        if self.base_url.username or self.base_url.password:
            raise ValueError("base_url must not carry a user or password: give the secret as the token")
        return self

    def url(self, path: str) -> str:
        """The address of a path below base_url."""
        return str(self.base_url).rstrip("/") + "/" + path.lstrip("/")


def parse_engine(data: Mapping[str, Any], origin: str) -> EngineSpec:
    """An engine from plain data. Raises SpecError that names `origin`, every wrong field and its rule."""
    try:
        return EngineSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError(f"{origin} is not a slotting engine: {format_errors(error)}") from error


def load_engine(path: Path) -> EngineSpec:
    """An engine from a YAML file. Raises SpecError where it cannot be read or is wrong."""
    return parse_engine(read_keys(path, "slotting engine"), str(path))

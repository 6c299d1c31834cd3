"""The spec of a slotting engine: its address, and how it receives records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import AnyHttpUrl, Field, ValidationError, field_validator, model_validator

from sku_velocity.errors import SpecError
from sku_velocity.http.spec import HeaderName, PaceSpec, TimeoutSpec, TlsSpec
from sku_velocity.model.movement import Detail
from sku_velocity.model.velocity_fields import CLASSES, FigureName
from sku_velocity.spec_errors import format_errors
from sku_velocity.spec_file import Part, read_spec


class EngineSpec(Part):
    """One slotting engine. The secret is never in this file.

    The store keys its records by `name`: under another name, everything is pushed again.
    """

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="Lower case, digits and dashes")
    base_url: AnyHttpUrl
    movements_path: str = Field(default="/movements", description="Path for movements, below base_url")
    classes_path: str = Field(default="/classes", description="Path for velocity classes, below base_url")
    batch_size: int = Field(default=500, ge=1, le=10_000, description="Maximum records per request")
    movement_fields: tuple[Detail, ...] = Field(
        default=(), description="Optional fields to send with each movement; null if it has none"
    )
    velocity_fields: tuple[FigureName, ...] = Field(
        default=CLASSES, min_length=1, description="Figures to send of each SKU, of table sku_velocity"
    )
    idempotency_header: HeaderName = "Idempotency-Key"
    tls: TlsSpec = TlsSpec()
    pace: PaceSpec = PaceSpec(requests_per_second=10)
    timeouts: TimeoutSpec = TimeoutSpec()

    @field_validator("movement_fields", "velocity_fields")
    @classmethod
    def _fields_differ(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("a field is given twice: remove one of the two")
        return names

    @model_validator(mode="after")
    def _url_holds_no_secret(self) -> Self:
        if self.base_url.username or self.base_url.password:
            raise ValueError("base_url must not contain a user or password: set the secret as the token")
        return self

    def url(self, path: str) -> str:
        """Return the URL of a path below base_url."""
        return str(self.base_url).rstrip("/") + "/" + path.lstrip("/")


def parse_engine(data: Mapping[str, Any], origin: str, text: str = "") -> EngineSpec:
    """Parse an engine from plain data; `text` is that of its file.

    Raises a SpecError that names `origin`, every wrong field with its line, and its rule.
    """
    try:
        return EngineSpec.model_validate(data)
    except ValidationError as error:
        reasons = format_errors(error, EngineSpec, data, text)
        raise SpecError(f"{origin} is not a slotting engine: {reasons}") from error


def load_engine(path: Path) -> EngineSpec:
    """Load an engine from a YAML file. Raises SpecError if it cannot be read or is invalid."""
    file = read_spec(path, "slotting engine")
    return parse_engine(file.data, str(path), file.text)

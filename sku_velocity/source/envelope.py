"""What a body tells beside its records: a status, an error, a count."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import SchemaValidator, ValidationError, core_schema

from sku_velocity.errors import SourceMappingError, UnreadableBodyError
from sku_velocity.model.chunk import MAX_TOTAL
from sku_velocity.source.mapping import path_keys
from sku_velocity.source.page_json import dump
from sku_velocity.source.spec import SourceSpec
from sku_velocity.source.validation import QUIET
from sku_velocity.text import quote


class BodyStatus:
    """The status and the error of an API that answers every call with HTTP 200."""

    def __init__(self, spec: SourceSpec) -> None:
        self._status = _reader(spec.throttle.body_status_path, core_schema.int_schema(ge=100, le=599))
        self._error = _reader(spec.records.error_path, core_schema.any_schema())

    def status(self, body: bytes) -> int | None:
        """The status that the body tells, where it is not one of success."""
        status = _read(self._status, body)
        return status if isinstance(status, int) and status >= 300 else None

    def error(self, body: bytes) -> str | None:
        """The error that the body tells, in short."""
        error = _read(self._error, body)
        return quote(dump(error).encode()) if error else None


def read_count(spec: SourceSpec, body: bytes) -> int:
    """The number at `total.path`, or the whole body.

    Raises UnreadableBodyError where the body is not JSON, and SourceMappingError where there is no number.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableBodyError(f"{spec.name}: the count is not JSON: {quote(body)}") from error
    try:
        for key in path_keys(spec.total.path) if spec.total.path else ():
            found = found[key]
        return checked_count(found)
    except (LookupError, TypeError, ValueError) as error:
        raise SourceMappingError(
            f"{spec.name}: mapping: no count at total.path {spec.total.path or '(the whole body)'}; "
            f"the answer begins: {quote(body)}"
        ) from error


def checked_count(told: Any) -> int:
    """A number of records, told as number or text. Raises TypeError or ValueError for anything else."""
    try:
        number = int(told)
    except OverflowError as error:
        raise ValueError("endless") from error
    if not 0 <= number <= MAX_TOTAL:
        raise ValueError("no number of records")
    return number


def _reader(path: str | None, schema: core_schema.CoreSchema) -> SchemaValidator | None:
    if path is None:
        return None
    lenient = core_schema.with_default_schema(schema, default=None, on_error="default")
    field = core_schema.model_field(lenient, validation_alias=path_keys(path))
    return SchemaValidator(core_schema.model_fields_schema({"told": field}, extra_behavior="ignore"), QUIET)


def _read(reader: SchemaValidator | None, body: bytes) -> Any:
    if reader is None:
        return None
    try:
        return reader.validate_json(body)[0]["told"]
    except ValidationError:
        return None

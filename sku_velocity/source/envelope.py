"""The values in a response body besides its records: total, cursor, flag, status and error."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import CoreConfig, SchemaValidator, ValidationError, core_schema

from sku_velocity.errors import SourceMappingError, UnreadableBodyError
from sku_velocity.model.chunk import MAX_TOTAL
from sku_velocity.source.comparison import comparison_keys
from sku_velocity.source.mapping import look_up, path_keys
from sku_velocity.source.page_json import dump, read_document, repeated_key, value_text
from sku_velocity.source.spec import SourceSpec
from sku_velocity.text import is_unicode, quote

HIDE_INPUT = CoreConfig(hide_input_in_errors=True)  # only our own messages quote a source's data, shortened
ABSENT = object()  # the value at a path that a body does not have
_DIGITS = re.compile(r"\s*[0-9]+\s*", re.ASCII)
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)


class EnvelopeFields:
    """The values that a spec names in one body, each interpreted when it is read.

    A value that is there but not understood is a SourceMappingError that names its key in the spec: to ignore
    it could mean to miss an error, or to take a page for the last one.
    """

    def __init__(self, spec: SourceSpec, values: Mapping[str, Any], body: bytes = b"") -> None:
        self._spec = spec
        self._values = values
        self._body = body

    @property
    def total(self) -> int | None:
        """The number of records in the window."""
        value = self._values.get("total")
        try:
            return None if value is None else checked_count(value)
        except (TypeError, ValueError):
            place = f"total.path {self._spec.total.path}"
            raise self._not_understood(f"no total at {place}: not a number of records", value) from None

    @property
    def following(self) -> str | None:
        """The cursor or link of the next page, as text; None if it is absent, empty or false, or at the end.

        A number is returned as it is written: a float may not hold all of its digits.
        """
        value, path = self._values.get("following"), self._spec.paging.following_path or ""
        if value is None or value is False or value in ("", ABSENT) or self.more is False:
            return None
        text = str(value) if isinstance(value, str | int | float) and value is not True else None
        if text is None or "\x00" in text or not is_unicode(text):
            raise self._not_understood(
                f"the value at {path} is neither text nor a number (check paging.cursor_path, "
                "paging.next_path; if it means the end, set paging.more_path)",
                value,
            )
        if text.strip() in ("0", "0.0") and not self.more:
            raise self._not_understood(
                f"0 came as the next cursor at {path}: if it means the end, set paging.more_path; otherwise "
                "check paging.cursor_path, paging.next_path",
                value,
            )
        return value_text(self._body, path) if isinstance(value, float) else text

    @property
    def lacks_following(self) -> bool:
        """Whether the body does not have the key of the next cursor or link at all."""
        return self._values.get("following") is ABSENT

    @property
    def more(self) -> bool | None:
        """Whether another page follows; None if the body does not say."""
        value = self._values.get("more")
        try:
            return None if value is None else read_flag(value)
        except ValueError:
            raise self._not_understood(
                f"the value at paging.more_path {self._spec.paging.more_path} says neither that there is "
                "more nor that there is not",
                value,
            ) from None

    def status(self, http_status: int) -> int:
        """Return the status in the body if it means failure, otherwise that of the response."""
        value = self._values.get("status")
        if value is None:
            return http_status
        try:
            status = checked_count(value)
        except (TypeError, ValueError):
            status = 0
        if not 100 <= status <= 599:
            if http_status >= 300 or self.error:
                return http_status
            raise self._not_understood(
                f"the value at throttle.body_status_path {self._spec.throttle.body_status_path} is no HTTP "
                "status from 100 to 599 (records.error_path reads any other sign of an error)",
                value,
            )
        return status if status >= 300 else http_status

    @property
    def error(self) -> str | None:
        """The error that the body reports, as JSON text."""
        error = self._values.get("error")
        return dump(error) if error else None

    @property
    def is_auth_error(self) -> bool:
        """Whether the body reports an error that means a wrong token."""
        keys = comparison_keys(self._values.get("auth_error"))
        return any(keys & comparison_keys(each) for each in self._spec.records.auth_errors)

    def _not_understood(self, problem: str, value: Any) -> SourceMappingError:
        shown = quote(dump(value).encode("utf-8", "replace"))
        return SourceMappingError(f"{self._spec.name}: mapping: {problem}: {shown}")


class Envelope:
    """Reads the envelope of a source's bodies, with the tolerance with which its pages are read."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        self._depth = records_depth(spec.records.path)
        page, records = spec.paging, spec.records
        paths = {
            "total": spec.total.path if spec.total.source == "body" else None,
            "following": page.following_path,
            "more": page.more_path,
        }
        reports = {
            "status": spec.throttle.body_status_path,
            "error": records.error_path,
            "auth_error": records.auth_error_path,
        }
        self._paths = {name: path for name, path in paths.items() if path}
        self._reports = {name: path for name, path in reports.items() if path}
        fields = _schema_fields(self._reports)
        self._schema = SchemaValidator(core_schema.model_fields_schema(fields), HIDE_INPUT)

    @property
    def _next_page_path(self) -> str | None:
        """The key of the spec and the path of what says in the body that another page follows."""
        paging = self._spec.paging
        keys = ("cursor_path", "next_path", "more_path") if paging.is_sequential else ()
        return next((f"paging.{key} {path}" for key in keys if (path := getattr(paging, key))), None)

    def check_keys(self, body: bytes, records_path: str) -> None:
        """Raise SourceMappingError if a body has a key of its envelope twice: one value would be lost."""
        if path := repeated_key(body, [records_path, *self._paths.values()]):
            raise SourceMappingError(
                f"{self._spec.name}: mapping: the body has a key of {path} twice in one object, so records "
                f"may be missing: the source must return each key once; it starts with: {quote(body)}"
            )

    def of(self, values: Mapping[str, Any], body: bytes = b"") -> EnvelopeFields:
        """Interpret the values that the schema of a page found in a body."""
        return EnvelopeFields(self._spec, values, body)

    def of_document(self, document: Any, body: bytes) -> EnvelopeFields:
        """Interpret the values in a parsed body.

        Raises SourceMappingError if it is a list of records, which has no place for the cursor or flag.
        """
        if isinstance(document, list) and document and (missing := self._next_page_path):
            raise SourceMappingError(
                f"{self._spec.name}: mapping: the body is a list of records, so it has nothing at {missing}: "
                "set records.path if they have an envelope, or correct paging"
            )
        is_object = isinstance(document, dict)
        values = {
            name: look_up(document, path, _default_of(name) if is_object else None)
            for name, path in self._paths.items()
        }
        return self.of(values, body)

    def read(self, body: bytes) -> EnvelopeFields:
        """Read the status and the error that a body reports; it reports none if it is not JSON."""
        if not self._reports:
            return self.of({})
        try:
            return self.of(self._schema.validate_json(body)[0])
        except ValidationError:
            pass
        try:
            document = read_document(body, self._depth)
        except ValueError:
            return self.of({})
        return self.of({name: look_up(document, path) for name, path in self._reports.items()})


def read_flag(value: Any) -> bool:
    """Return whether a flag or a count says that there is more.

    Raises ValueError if it is neither clearly true nor clearly false.
    """
    if isinstance(value, int | float) and 0 <= value < math.inf:  # a bool, too
        return value > 0
    text = value.strip().casefold() if isinstance(value, str) else ""
    if text in ("true", "yes", "y"):
        return True
    if text in ("false", "no", "n"):
        return False
    if not _NUMBER.fullmatch(text):
        raise ValueError("neither true nor false")
    return float(text) > 0


def read_count(spec: SourceSpec, body: bytes) -> int:
    """Return the number at `total.path`, or of the whole body.

    Raises UnreadableBodyError if the body is not JSON, and SourceMappingError if there is no number.
    """
    try:
        found = read_document(body, 1)
    except ValueError as error:
        raise UnreadableBodyError(f"{spec.name}: the count is not JSON: {quote(body)}") from error
    try:
        return checked_count(look_up(found, spec.total.path) if spec.total.path else found)
    except (TypeError, ValueError) as error:
        raise SourceMappingError(
            f"{spec.name}: mapping: no count at total.path {spec.total.path or '(the whole body)'}; "
            f"the response starts with: {quote(body)}"
        ) from error


def checked_count(value: Any) -> int:
    """Parse a number of records from a whole number or its text. Raises TypeError or ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError("not a number")
    if isinstance(value, float) and not value.is_integer():
        raise ValueError("not a whole number")
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError("not a whole number")
    number = int(value)
    if not 0 <= number <= MAX_TOTAL:
        raise ValueError("not a number of records")
    return number


def records_depth(path: str) -> int:
    """Return how many levels below the top of a body its records are."""
    return 1 + len(path_keys(path)) if path else 1


def records_in(document: Any, path: str) -> list[Any]:
    """Return the list at the path of a body's records; a null there, or as the whole body, is an empty page.

    Raises LookupError or TypeError if there is no list: a missing key is never an empty page.
    """
    if document is None:
        return []
    for key in path_keys(path) if path else ():
        document = document[key]
    if document is None:
        return []
    if not isinstance(document, list):
        raise TypeError("not a list")
    return document


def _schema_fields(paths: Mapping[str, str]) -> dict[str, core_schema.ModelField]:
    """Return the schema of values at dotted paths, each with the default of its name."""
    anything = core_schema.any_schema()
    return {
        name: core_schema.model_field(
            core_schema.with_default_schema(anything, default=_default_of(name)),
            validation_alias=path_keys(path),
        )
        for name, path in paths.items()
    }


def _default_of(name: str) -> Any:
    """Return what stands for a value that a body does not have."""
    return ABSENT if name == "following" else None

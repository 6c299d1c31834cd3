"""Page bytes in; movements or items, and dead letters, out. A bad record is data, never an exception."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

from pydantic import ValidationError
from pydantic_core import CoreConfig, CoreSchema, ErrorDetails, SchemaValidator, core_schema

from sku_velocity.errors import SourceMappingError, UnreadableBodyError
from sku_velocity.model.chunk import MAX_TOTAL, Page, PageResult, sum_extra_fields
from sku_velocity.model.master import Master
from sku_velocity.model.movement import MAX_ID, DeadLetter, Reason
from sku_velocity.model.window import Window
from sku_velocity.source.fingerprint import fingerprint
from sku_velocity.source.mapping import (
    MappedRecord,
    is_filtered,
    known_names,
    look_up,
    path_keys,
    record_schema,
)
from sku_velocity.source.page_json import dump, read_document
from sku_velocity.source.rows import Refused, row_maker
from sku_velocity.source.spec import SourceSpec
from sku_velocity.text import is_unicode, quote

QUIET = CoreConfig(hide_input_in_errors=True)  # what a source sends is quoted by us alone, and in short
MISSING = "Field required"  # pydantic's words
UNPARSED = "is nested too deep, or holds a number too long or text that is no Unicode"
_TOTAL = core_schema.int_schema(ge=0, le=MAX_TOTAL)


@dataclass(frozen=True)
class RawPage:
    """A page as read: each record mapped, or None where it breaks a rule.

    `total` and `following`, the cursor or link of the next page, are None where the body does not give them.
    """

    body: bytes
    records: Sequence[MappedRecord | None]
    total: int | None
    following: str | None = None
    start: int = 0  # the place in the body's list of the first of `records`

    depth: int = 1  # how many levels below the top of its JSON a record stands

    @cached_property
    def document(self) -> Any:
        """The body's JSON as it came; read only for a page that holds a reject."""
        return read_document(self.body, self.depth)

    def cut(self, start: int, size: int) -> RawPage:
        """The page without its first `start` records, and with no more than `size`."""
        return replace(self, records=self.records[start : start + size], start=self.start + start)


class PageReader:
    """Reads the pages of one source: of movements for one warehouse and window, or of a master's items.

    With a master, movements are mapped to its canonical SKUs.
    """

    def __init__(
        self, spec: SourceSpec, warehouse: str, window: Window, master: Master | None = None
    ) -> None:
        self._spec = spec
        self._maker = row_maker(spec, warehouse, window, master)
        model = self._maker.model
        self._required = {
            name: str(field)
            for name, field in spec.record.mapped()
            if field.const is None and model.model_fields[name].is_required()
        }
        self._known = known_names(spec.record, spec.filter)
        record = record_schema(spec.record, model, spec.filter)
        self._record = SchemaValidator(record, QUIET)
        envelope = _envelope_fields(spec)
        self._envelope = SchemaValidator(core_schema.model_fields_schema(envelope), QUIET)
        self._page = SchemaValidator(_page_schema(spec, record, envelope), QUIET)
        self._depth = 1 + len(path_keys(spec.records.path)) if spec.records.path else 1

    def read(self, body: bytes) -> RawPage:
        """Parse and map a whole page in one pass over its bytes.

        Raises UnreadableBodyError where the body is not JSON, and SourceMappingError where the records
        are not where the spec says they are: a missing list is never an empty page.
        """
        try:
            parsed = self._page.validate_json(body)
        except ValidationError as error:
            if error.errors(include_input=False)[0]["type"] == "json_invalid":
                return self._read_leniently(body)
            raise self._not_as_described(body) from error
        if not self._spec.records.path:
            return RawPage(body, parsed, None)
        return self._page_of(body, parsed[0]["records"], parsed[0])

    def _page_of(self, body: bytes, records: list[MappedRecord | None], fields: dict[str, Any]) -> RawPage:
        following = self._following(fields.get("following")) if fields.get("more", True) else None
        return RawPage(body, records, fields.get("total"), following, depth=self._depth)

    def _following(self, told: Any) -> str | None:
        """Where the body says to go on: the cursor or link; None where it says nothing, or false.

        Raises SourceMappingError for anything else: to take it for the end would lose the rest in silence.
        """
        if told is None or told is False or told == "":
            return None
        text = str(told) if isinstance(told, str | int | float) and told is not True else None
        if text is None or "\x00" in text or not is_unicode(text):
            raise SourceMappingError(
                f"{self._spec.name}: mapping: what stands at {self._spec.paging.following_path} is neither "
                f"text nor a number (paging.cursor_path, next_path): {quote(repr(told).encode())}"
            )
        return text

    def validate(self, raw: RawPage, page: Page) -> PageResult:
        """Sort a page's records into rows, dead letters and records outside the window."""
        records, filtered = raw.records, self._filtered(raw)
        kept = [
            (index, record)
            for index, record in enumerate(records)
            if record is not None and index not in filtered
        ]
        good = [record for _, record in kept]
        rows = self._maker.rows([record[0] for record in good], [page.offset + index for index, _ in kept])
        rejects = [i for i, record in enumerate(records) if record is None and i not in filtered]
        if rows.refused:
            rejects = sorted(rejects + [position - page.offset for position in rows.refused])
        return PageResult(
            page=page,
            fetched=len(records),
            movements=rows.movements,
            items=rows.items,
            dead_letters=self._dead_letters(raw, rejects, page.offset, rows.refused) if rejects else [],
            trimmed=rows.trimmed,
            filtered=len(filtered),
            extra_fields=self._count_extra_fields(good),
            unknown_skus=rows.unknown_skus,
        )

    def _filtered(self, raw: RawPage) -> set[int]:
        """The places of the records that a filter drops."""
        rules = [(str(number), rule) for number, rule in enumerate(self._spec.filter)]
        found = set()
        for index, record in enumerate(raw.records if rules else ()):
            for key, rule in rules:
                value = record[0][key] if record else look_up(self._raw_record(raw, index), rule.path)
                if is_filtered(rule, value):
                    found.add(index)
                    break
        return found

    def _count_extra_fields(self, records: Iterable[MappedRecord]) -> dict[str, int]:
        counted = Counter(chain.from_iterable(record[1] for record in records if record[1]))
        for name in self._known & counted.keys():
            del counted[name]
        return sum_extra_fields({name[:MAX_ID]: count} for name, count in counted.items())

    def fingerprint(self, raw: RawPage, places: slice) -> str | None:
        """Stands for some of a page's records, as they came; None where there are none."""
        chosen = range(len(raw.records))[places]
        if not chosen:
            return None
        told = (raw.records[index] or self._raw_record(raw, index) for index in chosen)
        return fingerprint(told, self._maker.id_field)

    def records_as_received(self, raw: RawPage) -> list[Any]:
        """A page's records as they came."""
        return self._records_in(raw.document)[raw.start :]

    def _raw_record(self, raw: RawPage, index: int) -> Any:
        return self.records_as_received(raw)[index]

    def unmapped_fields(self, raw: RawPage) -> dict[str, str]:
        """The fields that no record of the page has at their path: a sign that the mapping is wrong."""
        records = [record for record in self.records_as_received(raw) if isinstance(record, dict)]
        missing = dict(self._required) if records else {}
        for record in records:
            absent = {fault.field for fault in self._faults(dump(record)) if fault.message == MISSING}
            missing = {name: path for name, path in missing.items() if path in absent}
        return missing

    def _dead_letters(
        self, raw: RawPage, indexes: list[int], offset: int, refused: Refused
    ) -> list[DeadLetter]:
        records = self.records_as_received(raw)
        texts = [dump(records[index]) for index in indexes]
        return [
            DeadLetter(offset + index, text, refused.get(offset + index) or self._faults(text))
            for index, text in zip(indexes, texts, strict=True)
        ]

    def _faults(self, text: str) -> tuple[Reason, ...]:
        try:
            self._record.validate_json(text)
        except ValidationError as error:
            return tuple(_reason(fault) for fault in error.errors(include_url=False, include_input=False))
        return ()

    def _records_in(self, document: Any) -> list[Any]:
        for key in path_keys(self._spec.records.path) if self._spec.records.path else ():
            document = document[key]
        if not isinstance(document, list):
            raise TypeError("no list")
        return document

    def _read_leniently(self, body: bytes) -> RawPage:
        """Record by record, so that one that no parser takes costs itself and not its page."""
        try:
            document = read_document(body, self._depth)
            records = self._records_in(document)
        except ValueError as error:
            raise UnreadableBodyError(f"{self._spec.name}: the answer is not JSON: {quote(body)}") from error
        except (LookupError, TypeError) as error:
            raise self._not_as_described(body) from error
        mapped = [self._map_alone(record) for record in records]
        if not self._spec.records.path:
            return RawPage(body, mapped, None)
        return self._page_of(body, mapped, self._envelope.validate_python(document)[0])

    def _map_alone(self, record: Any) -> MappedRecord | None:
        try:
            mapped: MappedRecord = self._record.validate_json(dump(record))
        except ValidationError:
            return None
        return mapped

    def _not_as_described(self, body: bytes) -> SourceMappingError:
        path = self._spec.records.path
        place = f"at {path!r}" if path else "as the whole body"
        return SourceMappingError(
            f"{self._spec.name}: mapping: no list of records {place} (records.path); "
            f"the answer begins: {quote(body)}"
        )


def _reason(fault: ErrorDetails) -> Reason:
    place = ".".join(map(str, fault["loc"]))
    return Reason(place, f"{UNPARSED}: {fault['msg']}" if fault["type"] == "json_invalid" else fault["msg"])


def _page_schema(
    spec: SourceSpec, record: CoreSchema, envelope: dict[str, core_schema.ModelField]
) -> CoreSchema:
    """The list of records alone, or within its envelope; a record that breaks a rule is read as None."""
    records = core_schema.list_schema(
        core_schema.with_default_schema(record, default=None, on_error="default")
    )
    if not spec.records.path:
        return records
    field = core_schema.model_field(records, validation_alias=path_keys(spec.records.path))
    return core_schema.model_fields_schema({"records": field} | envelope, extra_behavior="ignore")


def _envelope_fields(spec: SourceSpec) -> dict[str, core_schema.ModelField]:
    """What a body tells beside its records, by name."""
    told = {
        "total": (spec.total.path if spec.total.source == "body" else None, _TOTAL),
        "following": (spec.paging.following_path, core_schema.any_schema()),
        "more": (spec.paging.more_path, core_schema.bool_schema()),
    }
    return {name: _optional(schema, path) for name, (path, schema) in told.items() if path}


def _optional(schema: CoreSchema, path: str) -> core_schema.ModelField:
    """A field that is None where it is absent, null or something else."""
    lenient = core_schema.with_default_schema(schema, default=None, on_error="default")
    return core_schema.model_field(lenient, validation_alias=path_keys(path))

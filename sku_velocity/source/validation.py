"""Turns page bytes into movements or items and dead letters. A bad record is data, never an exception."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import chain
from typing import Any

from pydantic import ValidationError
from pydantic_core import CoreSchema, ErrorDetails, SchemaValidator, core_schema

from sku_velocity.errors import SourceMappingError, UnreadableBodyError
from sku_velocity.masking import hide_distinctive
from sku_velocity.model.chunk import Page, PageResult, count_values, sum_extra_fields
from sku_velocity.model.master import Master
from sku_velocity.model.movement import MAX_ID, DeadLetter, Reason
from sku_velocity.model.window import Window
from sku_velocity.source.envelope import HIDE_INPUT, Envelope, EnvelopeFields, records_depth, records_in
from sku_velocity.source.fields import FieldSpec, RowFilter
from sku_velocity.source.fingerprint import Fingerprints
from sku_velocity.source.mapping import (
    MappedRecord,
    known_names,
    label_of,
    look_up,
    path_keys,
    record_schema,
)
from sku_velocity.source.page_json import dump, read_document, record_texts, storable
from sku_velocity.source.rows import Rejects, Rows, row_maker
from sku_velocity.source.spec import SourceSpec
from sku_velocity.text import quote

MISSING = "Field required"  # pydantic's message
UNPARSED = "is nested too deep, or contains an overlong number or invalid Unicode"


@dataclass(frozen=True)
class RawPage:
    """A parsed page: each record is mapped, or None if it breaks a rule.

    `total`, `following` (the cursor or link of the next page) and `more` (whether there is one) are None if
    the body does not contain them; `lacks_following`: it does not have the key of `following`. A body
    that is `null` is an empty page.
    """

    body: bytes
    records: Sequence[MappedRecord | None]
    total: int | None = None
    following: str | None = None
    more: bool | None = None
    lacks_following: bool = False
    is_null: bool = False
    start: int = 0  # index in the body's list of the first of `records`

    path: str = ""  # of the list in the body

    @cached_property
    def document(self) -> Any:
        """The body's JSON as received; parsed only for a page that contains a reject."""
        return read_document(self.body, records_depth(self.path))

    @cached_property
    def texts(self) -> list[str]:
        """The JSON text of each record as received, in the order of `records`."""
        return record_texts(self.body, self.path)[self.start :]

    def cut(self, start: int, size: int) -> RawPage:
        """Return the page without its first `start` records, and with at most `size`."""
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
        self._known = known_names(spec.record, spec.filter, spec.inputs.values())
        # Of the fields that share a path the first names a reason: the others only classify.
        fields = reversed([*spec.record.mapped()])
        self._labels = {_alias(field): label_of(name, field) for name, field in fields}
        self._fingerprints = Fingerprints(spec.record, spec.filter, self._maker.id_field, spec.inputs)
        partial = record_schema(spec.record, model, inputs=spec.inputs, lenient=True)
        self._partial = SchemaValidator(partial, HIDE_INPUT)
        slow = record_schema(spec.record, model, spec.filter, spec.inputs)
        self._record = SchemaValidator(slow, HIDE_INPUT)
        record = record_schema(spec.record, model, spec.filter, spec.inputs, fast=True)
        self._envelope = Envelope(spec)
        self._page = SchemaValidator(_page_schema(spec, record, self._envelope.page_fields), HIDE_INPUT)
        self._depth = records_depth(spec.records.path)

    def read(self, body: bytes) -> RawPage:
        """Parse and map a whole page in one pass over its bytes.

        Raises UnreadableBodyError if the body is not JSON, and SourceMappingError if the records are not
        where the spec says, or the total, cursor or flag beside them is not understood.
        """
        try:
            parsed = self._page.validate_json(body)
        except ValidationError:
            return self._read_leniently(body)
        if not self._spec.records.path:
            return self._page_of(body, parsed, self._envelope.of_document(parsed, body))
        return self._page_of(body, parsed[0]["records"] or [], self._envelope.of(parsed[0], body))

    def _page_of(self, body: bytes, records: list[MappedRecord | None], envelope: EnvelopeFields) -> RawPage:
        self._envelope.check_keys(body, self._spec.records.path)
        return RawPage(
            body,
            records,
            envelope.total,
            envelope.following,
            envelope.more,
            envelope.lacks_following,
            path=self._spec.records.path,
        )

    def validate(self, raw: RawPage, page: Page) -> PageResult:
        """Sort a page's records into rows, dead letters and records out of scope.

        A record that is out of scope as far as it can be read is trimmed, even if it is invalid.
        """
        records, filtered = raw.records, self._filtered(raw)
        accepted = [
            (index, record)
            for index, record in enumerate(records)
            if record is not None and index not in filtered
        ]
        good = [record for _, record in accepted]
        rows = self._maker.rows(
            [record[0] for record in good], [page.offset + index for index, _ in accepted]
        )
        unloaded = self._unloaded(raw, page.offset, rows)
        dropped: list[tuple[str, str]] = list(filtered.values())
        rejects, trimmed = [], 0
        for index, fields in unloaded.items():
            if index in filtered:
                continue
            trim = None if page.offset + index in rows.rejected else self._maker.trim(fields)
            if trim is None:
                rejects.append(index)
                continue
            trimmed += 1
            if not trim.is_expected:
                dropped.append((trim.place, trim.value))
        # An item that a filter drops may well have the SKU of another: a row for each plant, say.
        counted = unloaded.keys() - (filtered.keys() if self._spec.items else ())
        ids = {page.offset + index: unloaded[index].get(self._maker.id_field) for index in counted}
        return PageResult(
            page=page,
            fetched=len(records),
            movements=rows.movements,
            items=rows.items,
            dead_letters=self._dead_letters(raw, rejects, page.offset, rows.rejected) if rejects else [],
            trimmed=trimmed,
            filtered=len(filtered),
            extra_fields=self._count_extra_fields(good),
            unknown_skus=rows.unknown_skus,
            unloaded_ids={position: id for position, id in ids.items() if id},
            dropped_values=count_values(dropped),
        )

    def _unloaded(self, raw: RawPage, offset: int, rows: Rows) -> dict[int, dict[str, Any]]:
        """Return the fields of the records that became no row, by index; of those that broke a rule, the
        valid fields.
        """
        if len(rows.movements) + len(rows.items) == len(raw.records):
            return {}
        positions = [row.position for row in rows.movements] or [row.position for row in rows.items]
        loaded = {position - offset for position in positions}
        return {
            index: record[0] if record else self._valid_fields(raw.texts[index])
            for index, record in enumerate(raw.records)
            if index not in loaded
        }

    def _valid_fields(self, text: str) -> dict[str, Any]:
        try:
            fields: dict[str, Any] = self._partial.validate_json(storable(text))[0]
        except ValidationError:
            return dict.fromkeys((name for name, _ in self._spec.record.mapped()), None)
        return fields

    def _filtered(self, raw: RawPage) -> dict[int, tuple[str, str]]:
        """Return the records that a filter drops: by index, the filter and the value that it saw.

        A record that is not an object, or cannot be parsed, has no value to filter it by: it is a reject.
        """
        rules = [(str(number), rule) for number, rule in enumerate(self._spec.filter)]
        found = {}
        for index, record in enumerate(raw.records if rules else ()):
            received = None if record else self._raw_record(raw, index)
            for key, rule in rules if record or isinstance(received, dict) else ():
                value = record[0][key] if record else look_up(received, rule.path)
                if rule.drops(value):
                    found[index] = (f"filter {rule.path}", _shown_value(rule, value))
                    break
        return found

    def _count_extra_fields(self, records: Iterable[MappedRecord]) -> dict[str, int]:
        counted = Counter(chain.from_iterable(record[1] for record in records if record[1]))
        for name in self._known & counted.keys():
            del counted[name]
        return sum_extra_fields({hide_distinctive(name)[:MAX_ID]: count} for name, count in counted.items())

    def instants(self, raw: RawPage) -> list[datetime | None]:
        """Return when each record of a page is dated, if it is in the reader's window and warehouse.

        That includes records that a filter drops or that are invalid, which may have been loaded before they
        were changed; None for one without a valid time.
        """
        records = [
            record[0] if record else self._valid_fields(raw.texts[index])
            for index, record in enumerate(raw.records)
        ]
        return [record["timestamp_utc"] for record in records if self._maker.trim(record) is None]

    def fingerprint(self, raw: RawPage, selection: slice) -> str | None:
        """Hash some of a page's records as received; None if there are none."""
        chosen = range(len(raw.records))[selection]
        if not chosen:
            return None
        return self._fingerprints.of(raw.records[index] or self._raw_record(raw, index) for index in chosen)

    def first_key(self, raw: RawPage) -> str | None:
        """Return the id of a page's first record or, without one, the page's fingerprint; None if empty."""
        record = raw.records[0] if raw.records else None
        id = record[0].get(self._maker.id_field) if record else None
        return f"id {id}" if id else self.fingerprint(raw, slice(None))

    def records_as_received(self, raw: RawPage) -> list[Any]:
        """Return a page's records as received."""
        return self._records_in(raw.document)[raw.start :]

    def _raw_record(self, raw: RawPage, index: int) -> Any:
        return self.records_as_received(raw)[index]

    def unmapped_fields(self, raw: RawPage) -> dict[str, str]:
        """Return the fields that no record of the page has at their path: a sign of a wrong mapping."""
        records = [record for record in self.records_as_received(raw) if isinstance(record, dict)]
        missing = dict(self._required) if records else {}
        for record in records:
            absent = {fault.field for fault in self._faults(dump(record)) if fault.message == MISSING}
            missing = {
                name: path
                for name, path in missing.items()
                if label_of(name, getattr(self._spec.record, name)) in absent
            }
        return missing | self._unmapped_id(records)

    def _unmapped_id(self, records: list[dict[str, Any]]) -> dict[str, str]:
        name = self._maker.id_field
        field = getattr(self._spec.record, name)
        if not records or field is None or field.const is not None:
            return {}
        nowhere = object()
        found = (look_up(record, path, nowhere) for record in records for path in field.paths)
        return {} if any(value is not nowhere for value in found) else {name: str(field)}

    def _dead_letters(
        self, raw: RawPage, indexes: list[int], offset: int, rejected: Rejects
    ) -> list[DeadLetter]:
        texts = ((offset + index, storable(raw.texts[index])) for index in indexes)
        return [
            DeadLetter(position, text, rejected.get(position) or self._faults(text))
            for position, text in texts
        ]

    def _faults(self, text: str) -> tuple[Reason, ...]:
        try:
            self._record.validate_json(text)
        except ValidationError as error:
            return tuple(
                self._reason(fault) for fault in error.errors(include_url=False, include_input=False)
            )
        return ()

    def _reason(self, fault: ErrorDetails) -> Reason:
        place = ".".join(map(str, fault["loc"]))
        message = f"{UNPARSED}: {fault['msg']}" if fault["type"] == "json_invalid" else fault["msg"]
        return Reason(self._labels.get(place, place), message)

    def _records_in(self, document: Any) -> list[Any]:
        return records_in(document, self._spec.records.path)

    def _read_leniently(self, body: bytes) -> RawPage:
        """Read record by record, so that an unparsable record affects only itself and not its page."""
        try:
            document = read_document(body, self._depth)
            records = self._records_in(document)
        except ValueError as error:
            raise UnreadableBodyError(
                f"{self._spec.name}: the response is not JSON: {quote(body)}"
            ) from error
        except (LookupError, TypeError) as error:
            raise self._mapping_error(body) from error
        if document is None:
            return RawPage(body, [], is_null=True)
        mapped = [self._map_one(record) for record in records]
        return self._page_of(body, mapped, self._envelope.of_document(document, body))

    def _map_one(self, record: Any) -> MappedRecord | None:
        try:
            mapped: MappedRecord = self._record.validate_json(dump(record))
        except ValidationError:
            return None
        return mapped

    def _mapping_error(self, body: bytes) -> SourceMappingError:
        path = self._spec.records.path
        place = f"at {path!r}" if path else "as the whole body"
        return SourceMappingError(
            f"{self._spec.name}: mapping: no list of records {place} (records.path); "
            f"the response starts with: {quote(body)}"
        )


def _alias(field: FieldSpec) -> str:
    """Return where an error locates a field."""
    is_path = len(field.paths) == 1
    return ".".join(map(str, path_keys(field.paths[0]))) if is_path else str(field)


def _shown_value(rule: RowFilter, value: Any) -> str:
    """Return the value that a filter saw; if it was compared with a number, the range that it is in."""
    if rule.in_ is None and rule.not_in is None:
        bounds = {"above": rule.above, "below": rule.below}
        return "not " + " and ".join(
            f"{name} {bound:g}" for name, bound in bounds.items() if bound is not None
        )
    return value if isinstance(value, str) else dump(value)


def _page_schema(
    spec: SourceSpec, record: CoreSchema, envelope: dict[str, core_schema.ModelField]
) -> CoreSchema:
    """Return the schema of the list of records or of its envelope; a record that breaks a rule is None."""
    records = core_schema.list_schema(
        core_schema.with_default_schema(record, default=None, on_error="default")
    )
    if not spec.records.path:
        return records
    nullable = core_schema.nullable_schema(records)
    field = core_schema.model_field(nullable, validation_alias=path_keys(spec.records.path))
    return core_schema.model_fields_schema({"records": field} | envelope, extra_behavior="ignore")

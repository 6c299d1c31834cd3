"""Turns page bytes into movements or items and dead letters. A bad record is data, never an exception."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import chain
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, SchemaValidator, from_json

from sku_velocity.errors import SourceMappingError, UnreadableBodyError
from sku_velocity.masking import hide_distinctive
from sku_velocity.model.chunk import Page, PageResult, count_values, sum_extra_fields
from sku_velocity.model.master import Master
from sku_velocity.model.movement import MAX_ID, DeadLetter, Reason
from sku_velocity.model.window import Window
from sku_velocity.source.columns import Column, ColumnReader
from sku_velocity.source.envelope import HIDE_INPUT, Envelope, records_depth, records_in
from sku_velocity.source.fields import FieldSpec, RowFilter
from sku_velocity.source.fingerprint import Fingerprints
from sku_velocity.source.mapping import (
    UNIT,
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
    """A parsed page: its records as received, and its columns, which are those of `ColumnReader`.

    `broken` has the index of each record that breaks a rule: the columns hold nothing valid of it. `total`,
    `following` (the cursor or link of the next page) and `more` (whether there is one) are None if the body
    does not contain them; `lacks_following`: it does not have the key of `following`. A body that is `null`
    is an empty page.
    """

    body: bytes
    records: list[Any]
    columns: Mapping[str, Column] = field(default_factory=dict)
    broken: Collection[int] = ()
    total: int | None = None
    following: str | None = None
    more: bool | None = None
    lacks_following: bool = False
    is_null: bool = False
    start: int = 0  # index in the body's list of the first of `records`

    path: str = ""  # of the list in the body

    @cached_property
    def texts(self) -> list[str]:
        """The JSON text of each record as received, in the order of `records`."""
        return record_texts(self.body, self.path)[self.start :]

    def cut(self, start: int, size: int) -> RawPage:
        """Return the page without its first `start` records, and with at most `size`."""
        if start == 0 and size >= len(self.records):
            return self
        chosen = slice(start, start + size)
        return replace(
            self,
            records=self.records[chosen],
            columns={key: column[chosen] for key, column in self.columns.items()},
            broken={index - start for index in self.broken if start <= index < start + size},
            start=self.start + start,
        )


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
        self._known = known_names(spec.record, (rule.path for rule in spec.filter), spec.inputs.values())
        # Of the fields that share a path the first names a reason: the others only classify.
        fields = reversed([*spec.record.mapped()])
        self._labels = {_alias(field): label_of(name, field) for name, field in fields}
        self._fingerprints = Fingerprints(spec.record, spec.filter, self._maker.id_field, spec.inputs)
        self._columns = ColumnReader(spec.record, model, spec.filter, spec.inputs)
        unit = spec.inputs.get(UNIT)
        self._record = SchemaValidator(record_schema(spec.record, model, unit), HIDE_INPUT)
        self._partial = SchemaValidator(record_schema(spec.record, model, unit, lenient=True), HIDE_INPUT)
        self._envelope = Envelope(spec)

    def read(self, body: bytes) -> RawPage:
        """Parse and map a page. An unparsable record affects only itself and not its page.

        Raises UnreadableBodyError if the body is not JSON, and SourceMappingError if the records are not
        where the spec says, or the total, cursor or flag beside them is not understood.
        """
        path = self._spec.records.path
        document, is_whole = self._parse(body)
        try:
            records = records_in(document, path)
        except (LookupError, TypeError) as error:
            raise self._mapping_error(body) from error
        if document is None:
            return RawPage(body, [], is_null=True)
        envelope = self._envelope.of_document(document, body)
        self._envelope.check_keys(body, path)
        columns, unsure = self._columns.read(records)
        # A record that does not parse with its page may have any value that only JSON's parser refuses.
        broken = self._judge(columns, records, unsure if is_whole else range(len(records)))
        return RawPage(
            body,
            records,
            columns,
            broken,
            envelope.total,
            envelope.following,
            envelope.more,
            envelope.lacks_following,
            path=path,
        )

    def _parse(self, body: bytes) -> tuple[Any, bool]:
        """Return a body's JSON, and whether all of it could be parsed."""
        try:
            return from_json(body), True
        except ValueError:
            pass
        try:
            return read_document(body, records_depth(self._spec.records.path)), False
        except ValueError as error:
            raise UnreadableBodyError(
                f"{self._spec.name}: the response is not JSON: {quote(body)}"
            ) from error

    def _judge(
        self, columns: Mapping[str, list[Any]], records: Sequence[Any], indexes: Iterable[int]
    ) -> set[int]:
        """Judge records on their own, and set their fields. Return the indexes of those that break a rule."""
        broken = set()
        for index in indexes:
            fields = self._map_one(records[index])
            if fields is None:
                broken.add(index)
                continue
            for name, value in fields.items():
                columns[name][index] = value
        return broken

    def validate(self, raw: RawPage, page: Page) -> PageResult:
        """Sort a page's records into rows, dead letters and records out of scope.

        A record that is out of scope as far as it can be read is trimmed, even if it is invalid.
        """
        filtered = self._filtered(raw)
        positions: Sequence[int] = range(page.offset, page.offset + len(raw.records))
        good, columns = raw.records, raw.columns
        if raw.broken or filtered:
            accepted = [
                index for index in range(len(good)) if index not in raw.broken and index not in filtered
            ]
            good = [raw.records[index] for index in accepted]
            positions = [page.offset + index for index in accepted]
            columns = {key: [column[index] for index in accepted] for key, column in columns.items()}
        rows = self._maker.rows(columns, positions)
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
            fetched=len(raw.records),
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
        if len(rows.positions) == len(raw.records):
            return {}
        loaded = {position - offset for position in rows.positions}
        return {
            index: self._valid_fields(raw, index) for index in range(len(raw.records)) if index not in loaded
        }

    def _valid_fields(self, raw: RawPage, index: int) -> dict[str, Any]:
        """Return the fields of a record that do not break their rule; those that do are None."""
        if index not in raw.broken:
            return {name: column[index] for name, column in raw.columns.items()}
        text = raw.texts[index]
        try:
            fields: dict[str, Any] = self._partial.validate_json(storable(text))[0]
        except ValidationError:
            return {name: None for name, each in self._spec.record.mapped() if each.const is None}
        return fields

    def _filtered(self, raw: RawPage) -> dict[int, tuple[str, str]]:
        """Return the records that a filter drops: by index, the filter and the value that it saw.

        A record that is not an object, or cannot be parsed, has no value to filter it by: it is a reject.
        """
        found = {}
        for number, rule in enumerate(self._spec.filter):
            for index, value in enumerate(raw.columns.get(str(number), ())):
                if index not in found and rule.drops(value) and isinstance(raw.records[index], dict):
                    found[index] = (f"filter {rule.path}", _shown_value(rule, value))
        return found

    def _count_extra_fields(self, records: Iterable[dict[str, Any]]) -> dict[str, int]:
        extra = set().union(*records) - self._known
        counted = Counter(chain.from_iterable(records)) if extra else {}
        return sum_extra_fields({hide_distinctive(name)[:MAX_ID]: counted[name]} for name in extra)

    def instants(self, raw: RawPage) -> list[datetime | None]:
        """Return when each record of a page is dated, if it is in the reader's window and warehouse.

        That includes records that a filter drops or that are invalid, which may have been loaded before they
        were changed; None for one without a valid time.
        """
        records = [self._valid_fields(raw, index) for index in range(len(raw.records))]
        return [record["timestamp_utc"] for record in records if self._maker.trim(record) is None]

    def fingerprint(self, raw: RawPage, selection: slice) -> str | None:
        """Hash some of a page's records as received; None if there are none."""
        chosen = raw.records[selection]
        return self._fingerprints.of(chosen) if chosen else None

    def essences(self, raw: RawPage) -> list[Any]:
        """Return what a page's records are compared by, as their fingerprints are: 6 equals "6"."""
        return self._fingerprints.essences(raw.records)

    def first_key(self, raw: RawPage) -> str | None:
        """Return the id of a page's first record or, without one, the page's fingerprint; None if empty."""
        ids = raw.columns.get(self._maker.id_field)
        id = ids[0] if ids and 0 not in raw.broken else None
        return f"id {id}" if id else self.fingerprint(raw, slice(None))

    def unmapped_fields(self, raw: RawPage) -> dict[str, str]:
        """Return the fields that no record of the page has at their path: a sign of a wrong mapping."""
        records = [record for record in raw.records if isinstance(record, dict)]
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

    def _map_one(self, record: Any) -> dict[str, Any] | None:
        try:
            mapped: MappedRecord = self._record.validate_json(dump(record))
        except ValidationError:
            return None
        return mapped[0]

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

"""Guesses which values of a record are the fields of a movement, by their names and their values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import PydanticCustomError

from sku_velocity.source.fields import TimestampSpec
from sku_velocity.source.mapping import look_up
from sku_velocity.source.timestamps import instant_reader

MAX_DEPTH = 4
MAX_TYPES = 12  # movement types that are listed
# The names that a field may have, the most likely first; of a path in snake case, such as item_sku.
NAMES: dict[str, tuple[str, ...]] = {
    "timestamp_utc": (
        r"(moved?|movement|posted|posting|performed|transaction|occurred|booked|picked)_?(at|on|time|date|ts|utc)",
        r"timestamp",
        r"(^|_)(date_?time|at|ts|time)$",
        r"(^|_)date$|date_physical",
        r"creat",
    ),
    "units_moved": (
        r"units?_moved$",
        r"(^|_)(qty|quantity)(_|$)|change_in_on_hand|removed$",
        r"(^|_)units?$",
        r"(^|_)(delta|change|amount)$",
    ),
    "warehouse_id": (
        r"(^|_)warehouse(_|$)",
        r"(^|_)(site|facility|depot|organization)(_|$)",
        r"(^|_)plant$",
        r"(^|_)location(_|$)",
    ),
    "sku_id": (
        r"(^|_)sku(_|$)",
        r"(^|_)(item|material|article|product|part|goods)_(code|number|no|ipn)$|(^|_)ipn$",
        r"(^|_)(item|material|article|product|part|goods)(_id)?$",
    ),
    "movement_id": (
        r"^(movement|move|transaction|entry|event)_?(id|no|number)$",
        r"^id$",
        r"^(pk|uuid|guid|rec_?id|name)$",
        r"^[a-z_]*(id|number)$",
    ),
    "movement_type": (r"(movement|move|transaction|tracking)_?type", r"^(type|activity|kind)$"),
    "order_id": (r"(^|_)order(_(id|no|number|ref))?$",),
    "location_id": (r"(^|_)bin(_(id|code))?$",),
    "unit_of_measure": (r"(^|_)(uom|unit_of_measure|unit)$",),
}
PATTERNS = (
    "%Y-%m-%d",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%Y/%m/%d %H:%M:%S",
    "%Y%m%d%H%M%S",
    "%Y%m%d",
)
DATE = "%Y-%m-%d"
CLOCK = re.compile(r"\d\d?:\d\d:\d\d(\.\d+)?")


@dataclass
class FieldDraft:
    """The fields of a spec that were found, and notes on what was not found or is not certain."""

    fields: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    timestamp: TimestampSpec | None = None


def draft_fields(records: Sequence[Mapping[str, Any]], warehouse: str | None) -> FieldDraft:
    """Map the records of one answer. A field that no name fits is left out, and noted."""
    columns = _columns(records)
    draft, used = FieldDraft(), set[str]()
    for name, patterns in NAMES.items():
        fits = _fits(name, warehouse)
        free = {path: values for path, values in columns.items() if path not in used and fits(values)}
        found = _ranked(free, patterns)
        if name == "warehouse_id" and warehouse is not None:
            equal = [path for path, values in free.items() if set(map(str, values)) == {warehouse}]
            found = equal or found
        if name not in ("movement_type", "order_id", "location_id", "unit_of_measure") and len(found) > 1:
            draft.notes.append(
                f"fields.{name}: {found[0]} was taken; {' or '.join(found[1:4])} may be it as well"
            )
        if found:
            used.add(found[0])
            draft.fields[name] = found[0]
    _complete(draft, columns, warehouse)
    return draft


def _complete(draft: FieldDraft, columns: Mapping[str, list[Any]], warehouse: str | None) -> None:
    """Add formats and signs, and note what is missing."""
    fields, notes = draft.fields, draft.notes
    for name in ("sku_id", "units_moved", "timestamp_utc"):
        if name not in fields:
            notes.append(f"fields.{name} was not found: set its path")
    if "warehouse_id" not in fields:
        if warehouse is not None:
            fields["warehouse_id"] = {"const": warehouse}
        notes.append("fields.warehouse_id was not found: it is a constant; set its path if records have one")
    if "movement_id" not in fields:
        notes.append("fields.movement_id was not found: no value with such a name differs in each record")
    if (path := fields.get("units_moved")) is not None:
        signs = {float(value) < 0 for value in columns[path] if float(value) != 0}
        if signs == {True}:
            fields["units_moved"] = {"path": path, "sign": "negate"}
        if signs == {True, False}:
            notes.append(f"{path} is negative in some records: filter those that are no outbound movement")
    if (path := fields.get("timestamp_utc")) is not None:
        _add_time_format(draft, path, columns)
    if (path := fields.get("movement_type")) is not None:
        types = Counter(map(str, columns[path])).most_common(MAX_TYPES)
        shown = ", ".join(f"{value} ({count})" for value, count in types)
        notes.append(f"{path} is {shown}: filter what is no movement, and name the types")


def _add_time_format(draft: FieldDraft, path: str, columns: Mapping[str, list[Any]]) -> None:
    [form, *others] = time_formats(columns[path])
    spec: dict[str, Any] = {"path": path}
    clocks = [other for other in columns if other != path and _is_clock(columns[other])]
    if form == DATE and clocks:
        spec = {"join": [path, clocks[0]]}
        form = f"{DATE} %H:%M:%S.%f" if "." in str(columns[clocks[0]][0]) else f"{DATE} %H:%M:%S"
    if form != "iso":
        spec["format"] = form
    if others and form not in ("iso", *PATTERNS[:1]):
        draft.notes.append(f"the times at {path} also fit the format {others[0]}: check which is right")
    if not form.startswith(("epoch", "odata")) and not _has_zone(columns[path], form):
        spec["assume_timezone"] = "UTC"
        draft.notes.append(f"the times at {path} have no time zone: UTC is assumed; set the source's zone")
    draft.fields["timestamp_utc"] = path if spec == {"path": path} else spec
    draft.timestamp = TimestampSpec.model_validate(spec)


def time_formats(values: Sequence[Any]) -> list[str]:
    """Return the formats that read all of these values as times, the most likely first."""
    kinds = {type(value) for value in values}
    if kinds <= {int, float} and kinds:
        low = min(values)
        return ["epoch_ms"] if 10**12 <= low < 10**13 else ["epoch_s"] if 10**9 <= low < 10**10 else []
    if kinds != {str}:
        return []
    return [form for form in ("iso", "odata_v2", *PATTERNS) if _reads(values, form, "UTC")]


def _has_zone(values: Sequence[Any], form: str) -> bool:
    return form == "iso" and _reads(values, form, None)


def _reads(values: Sequence[Any], form: str, zone: str | None) -> bool:
    read = instant_reader(TimestampSpec(path=("at",), format=form, assume_timezone=zone))
    try:
        return bool([read(value) for value in values])
    except (PydanticCustomError, ValueError):
        return False


def _is_clock(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) and CLOCK.fullmatch(value) for value in values)


def _columns(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the values other than null at each path, of paths that most records have."""
    paths = dict.fromkeys(path for record in records for path in leaves(record))
    found = {path: [v for r in records if (v := look_up(r, path)) is not None] for path in paths}
    return {path: values for path, values in found.items() if 2 * len(values) >= len(records)}


def leaves(value: Any, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the dotted path of each value in nested objects that is no object or list itself."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            if len(above) < MAX_DEPTH and key and not re.search(r"[\s\\]", key):
                yield from leaves(below, (*above, key.replace(".", "\\.")))
    elif not isinstance(value, list) and above:
        yield ".".join(above)


def _ranked(columns: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Return the paths whose names fit the first pattern that any fits, the shallowest first."""
    for pattern in patterns:
        if found := [path for path in columns if re.search(pattern, snake_case(path))]:
            return sorted(found, key=lambda path: path.count("."))
    return []


def snake_case(path: str) -> str:
    """Return a path's name for comparison: item.skuCode is item_sku_code."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", path.replace(".", "_"))
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")


def _fits(name: str, warehouse: str | None) -> Callable[[list[Any]], bool]:
    """Return the check of a column's values for a field."""
    if name == "timestamp_utc":
        return lambda values: bool(time_formats(values))
    if name == "units_moved":
        return lambda values: all(_is_number(value) for value in values)
    if name == "movement_id":
        return lambda values: (
            all(_is_name(v) for v in values) and len(set(map(str, values))) == len(values) > 1
        )
    if name == "unit_of_measure":
        return lambda values: all(isinstance(value, str) for value in values)
    return lambda values: all(_is_name(value) for value in values)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    return bool(re.fullmatch(r"[-+]?\d+(\.\d+)?", str(value)))


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""

"""Messages for what is wrong in a spec file: the line, the key, the rule, and what was probably meant.

No message quotes a value, as it may be a secret: only keys, and names that are allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from itertools import groupby
from operator import itemgetter
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from sku_velocity.spec_file import CoreLoader
from sku_velocity.text import printable, shorten

Path = tuple[str, ...]
Keys = type[BaseModel]

SECRETS = {"token", "secret", "password", "api_key", "apikey", "access_token", "client_secret", "bearer"}
NO_SECRETS = (
    "a spec never contains a secret: remove it, set it as an environment variable, and name that variable "
    "(--token-env for a source, SKU_VELOCITY_ENGINE_TOKEN for an engine)"
)
# What other tools call a key.
SYNONYMS = {
    "url": "base_url",
    "host": "base_url",
    "endpoint": "request.path",
    "query": "request.params",
    "pagination": "paging",
    "rate_limit": "pace",
    "mapping": "fields",
    "columns": "fields",
    "filters": "filter",
    "sort": "order.params",
    "tz": "window.timezone",
    "id": "fields.movement_id",
    "sku": "fields.sku_id",
    "item": "fields.sku_id",
    "warehouse": "fields.warehouse_id",
    "site": "fields.warehouse_id",
    "quantity": "fields.units_moved",
    "qty": "fields.units_moved",
    "units": "fields.units_moved",
    "timestamp": "fields.timestamp_utc",
    "date": "fields.timestamp_utc",
    "time": "fields.timestamp_utc",
    "type": "fields.movement_type",
    "location": "fields.location_id",
}
# What other tools call a value.
VALUES = {
    **dict.fromkeys(("negative", "minus", "invert", "inverted"), "negate"),
    **dict.fromkeys(("absolute", "positive"), "abs"),
    **dict.fromkeys(("pages", "page_number", "pagenumber"), "page"),
    **dict.fromkeys(("link", "next", "links"), "next_link"),
    **dict.fromkeys(("token", "oauth_token"), "bearer"),
    **dict.fromkeys(("api_key", "apikey", "api-key"), "header"),
    **dict.fromkeys(("oauth2", "oauth", "client_credentials"), "oauth2_client_credentials"),
    **dict.fromkeys(("json", "response"), "body"),
    **dict.fromkeys(("iso8601", "iso-8601", "rfc3339"), "iso"),
    **dict.fromkeys(("epoch", "unix", "timestamp"), "epoch_s"),
    **dict.fromkeys(("hour", "hours", "minutes"), "minute"),
}
EXAMPLES = {
    "name": "name: acme",
    "base_url": "base_url: https://wms.example.com/api",
    "request": "request: {path: /movements}",
    "paging": "paging: {style: offset}",
    "total": "total: {from: body, path: count}",
    "records": "records: {path: data.items}",
    "order": "order: {params: {sort: id}}",
    "window": "window: {params: {start: from, end: to}}",
    "auth": "auth: {kind: bearer}",
    "pace": "pace: {requests_per_second: 20}",
    "filter": "filter: [{path: type, in: [pick]}]",
    "fields": "fields: {sku_id: item.sku}",
    "warehouses": "warehouses: {request: {path: /sites}, field: code}",
}
CODES = {"YYYY": "%Y", "yyyy": "%Y", "MM": "%m", "DD": "%d", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}
WHOLE, NUMBER = "must be a whole number, such as 1000", "must be a number, such as 20 or 0.5"
RULES = {
    "missing": "is missing",
    "int_type": WHOLE,
    "int_parsing": WHOLE,
    "int_from_float": WHOLE,
    "float_type": NUMBER,
    "float_parsing": NUMBER,
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "url_parsing": "must be an address that starts with https:// or http://",
    "url_scheme": "must be an address that starts with https:// or http://",
    "url_type": "must be an address that starts with https:// or http://",
}
MAPS = {"model_type", "model_attributes_type", "dict_type"}
LISTS = {"tuple_type", "list_type", "set_type", "frozen_set_type"}
KINDS = (
    (dict, "a map of keys (key: value)"),
    (list, "a list"),
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "text"),
)


def format_errors(error: ValidationError, model: Keys | None = None, data: Any = None, text: str = "") -> str:
    """Return every invalid key of a spec with its line, the rule it breaks and what was probably meant.

    Args:
        error: The error of the validation.
        model: The model of the spec, to name keys that were probably meant.
        data: The data as read from the file, without its preset.
        text: The text of the file, to name lines.
    """
    lines = _lines(text)
    faults = sorted((_place(each, data), number) for number, each in enumerate(error.errors()))
    messages = []
    below = {place[:length] for place, _ in faults for length in range(len(place))}
    faults = [(place, number) for place, number in faults if not place or place not in below]
    for place, group in groupby(faults, key=lambda fault: fault[0]):
        each = max((error.errors()[number] for _, number in group), key=_distinctness)
        rule = _rule(each, place, model)
        is_named = each["type"] == "value_error" and (not place or rule.startswith(f"{place[0]}."))
        named = next((key for key in _keys_in(rule) if key in lines), place) if is_named else place
        line = lines.get(max((at for at in lines if named[: len(at)] == at), key=len, default=()), 0)
        key = "" if is_named else shorten(printable(".".join(place)), 100)
        where = [f"line {line}"] if line else []
        messages.append((line, ": ".join([*where, *([key] if key else []), rule])))
    return "; ".join(message for _, message in sorted(messages, key=itemgetter(0)))


def line_of(text: str, key: str) -> str:
    """Return the line of a key at the top of a file, to precede a message; empty without the file's text."""
    line = _lines(text).get((key,))
    return f"line {line}: " if line else ""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a question that names the known word that is most like this one; empty if none is."""
    by_lower_case = {each.lower(): each for each in known}
    similar = get_close_matches(word.lower(), by_lower_case, n=1, cutoff=0.7)
    return f"did you mean {by_lower_case[similar[0]]}?" if similar else ""


def _keys_in(message: str) -> Iterator[Path]:
    """Yield the keys that a message names, such as request.params.limit."""
    yield from (tuple(word.rstrip(".").split(".")) for word in re.findall(r"[a-z][\w.-]*", message))


def _place(error: Any, data: Any) -> Path:
    """Return the keys of an error as they are in the file: without pydantic's tags of a union's branches."""
    place: list[str] = []
    is_missing = error["type"] == "missing"
    for number, key in enumerate(error["loc"]):
        is_index = isinstance(data, list) and isinstance(key, int) and key < len(data)
        if is_index or (isinstance(data, Mapping) and key in data):
            place, data = [*place, str(key)], data[key]
        elif data is None or (is_missing and number == len(error["loc"]) - 1):
            place.append(str(key))
    return tuple(place)


def _distinctness(error: Any) -> int:
    """Rank the errors of a union's branches: the branch that has the right type is the one that was meant."""
    kind = error["type"]
    return 2 if not kind.endswith("_type") and kind != "literal_error" else int(kind == "string_type")


def _rule(error: Any, place: Path, model: Keys | None) -> str:
    """Return the rule that a value breaks."""
    kind, value, context = error["type"], error.get("input"), error.get("ctx", {})
    name = place[-1] if place else ""
    if kind == "extra_forbidden":
        return _unknown_key(place, model)
    if kind == "missing":
        return f"is missing, as in {EXAMPLES[name]}" if name in EXAMPLES else "is missing"
    if kind == "literal_error":
        return _must_be_one_of(str(context["expected"]), value)
    if kind in MAPS | LISTS or (kind == "string_type" and not isinstance(value, str)):
        return _must_be(kind, value, place)
    if kind == "string_pattern_mismatch":
        return _must_match(name, value, str(context["pattern"]))
    if kind == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    if kind == "too_short":
        return f"must have at least {context['min_length']} of them"
    if kind == "greater_than" or kind.endswith("_than_equal"):
        return str(error["msg"]).replace("Input should", "must", 1)
    return RULES.get(kind) or str(error["msg"]).replace("Input should", "must", 1)


def _unknown_key(place: Path, model: Keys | None) -> str:
    name, parent = place[-1], tuple(key for key in place[:-1] if not key.isdigit())
    if name.lower() in SECRETS:
        return NO_SECRETS
    known = dict(_key_paths(model)) if model else {}
    beside = [path[-1] for path in known if path[:-1] == parent]
    dotted = (*parent, *name.split("."))
    if "." in name and dotted in known:
        nested = "{".join(f"{key}: " for key in name.split("."))
        return f"a key has no dots: write {nested}…{'}' * name.count('.')}"
    elsewhere = [path for path in known if path[-1] == name]
    elsewhere = [path for path in elsewhere if len(path) == min(map(len, elsewhere))]
    synonym = SYNONYMS.get(name.lower(), "")
    if tuple(synonym.split(".")) in known:
        meant = synonym.removeprefix(".".join((*parent, "")))
    elif elsewhere:
        meant = " or ".join(map(".".join, elsewhere[:3]))
    elif similar := get_close_matches(name.lower(), beside, n=1, cutoff=0.7):
        meant = similar[0]
    else:
        names = {path[-1]: ".".join(path) for path in reversed(known)}
        meant = next((names[each] for each in get_close_matches(name.lower(), names, n=1, cutoff=0.75)), "")
    if meant:
        return f"unknown key: did you mean {meant}?"
    return f"unknown key: use one of {', '.join(sorted(beside))}" if beside else "unknown key: remove it"


def _key_paths(model: Keys, above: Path = ()) -> Iterator[tuple[Path, None]]:
    """Yield the path of every key that a model and the parts of it take."""
    for name, field in model.model_fields.items():
        path = (*above, field.alias or name)
        yield path, None
        for part in _parts(field):
            yield from _key_paths(part, path)


def _parts(field: FieldInfo) -> Iterator[Keys]:
    pending: list[Any] = [field.annotation]
    while pending:
        each = pending.pop()
        if isinstance(each, type) and issubclass(each, BaseModel):
            yield each
        else:
            pending += get_args(each)


def _must_be_one_of(expected: str, value: Any) -> str:
    names = [each.strip("'") for each in expected.replace(" or ", ", ").split(", ")]
    word = value.lower() if isinstance(value, str) else ""
    meant = VALUES.get(word, "")
    question = f"did you mean {meant}?" if meant in names else suggestion(word, names)
    return ": ".join(filter(None, [f"must be {expected.replace(chr(39), '')}", question]))


def _must_be(kind: str, value: Any, place: Path) -> str:
    """Return that a value is of the wrong kind, and how to write what was probably meant."""
    wanted = "a map of keys (key: value)" if kind in MAPS else "a list" if kind in LISTS else "text"
    if kind in MAPS and place[0] in ("fields", "items") and len(place) > 1:
        wanted = "a path such as item.code, or a map of keys"
    given = next((name for types, name in KINDS if isinstance(value, types)), "")
    example = EXAMPLES.get(place[-1], "") if len(place) == 1 else ""
    if value is None:
        return f"has no value: indent the lines that belong to it, or remove it{_as_in(example)}"
    if kind in MAPS and isinstance(value, list):
        advice = ": remove the dashes before its keys"
    elif kind in LISTS:
        advice = ": write [ and ] around it"
    elif wanted == "text" and not isinstance(value, list | dict):
        advice = ": put it in quotes"
    else:
        advice = ""
    return f"must be {wanted}, not {given}{advice}{_as_in(example)}"


def _as_in(example: str) -> str:
    return f", as in {example}" if example else ""


def _must_match(name: str, value: Any, pattern: str) -> str:
    """Return what a text must be like."""
    text = str(value)
    if name == "name":
        slug = "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in text.lower()).split())
        question = f": {slug}, for example" if slug and slug.replace("-", "").isalnum() else ""
        return f"must be lowercase letters, digits and single dashes{question}"
    if name == "format":
        names = [each for each in pattern.strip("^()$").split("|") if each.isidentifier()]
        meant = VALUES.get(text.lower(), "")
        question = f"did you mean {meant}?" if meant in names else suggestion(text.lower(), names)
        if not question and any(code in text for code in CODES):
            question = "write a date as in %Y-%m-%d, and a time as in %H:%M:%S"
        rule = f"must be {', '.join(names)}, or a pattern such as %d.%m.%Y %H:%M"
        return ": ".join(filter(None, [rule, question]))
    if "A-Za-z0-9-" in pattern:
        return "must be the name of a header: letters, digits and dashes"
    return "must be keys joined by dots, without spaces and empty keys, such as data.items"


def _lines(text: str) -> dict[Path, int]:
    """Return the line of each key and list item of a YAML text; none if it is not YAML."""
    found: dict[Path, int] = {}

    def note(node: yaml.Node, place: Path) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    found[(*place, key.value)] = key.start_mark.line + 1
                    note(value, (*place, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                found[(*place, str(number))] = value.start_mark.line + 1
                note(value, (*place, str(number)))

    if (node := yaml.compose(text, CoreLoader)) is not None:
        note(node, ())
    return found

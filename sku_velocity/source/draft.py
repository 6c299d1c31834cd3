"""Drafts a spec from answers of an API: every setting in it was seen to work, and the rest is noted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import httpx

from sku_velocity.errors import ConfigurationError, UnreadableBodyError, VelocityError
from sku_velocity.model.window import Window
from sku_velocity.source.bounds import written_since
from sku_velocity.source.client import SourceClient
from sku_velocity.source.draft_fields import draft_fields, leaves, snake_case
from sku_velocity.source.envelope import checked_count
from sku_velocity.source.fields import TimestampSpec
from sku_velocity.source.links import next_link
from sku_velocity.source.mapping import look_up
from sku_velocity.source.requests import RequestParts
from sku_velocity.source.spec import WindowSpec
from sku_velocity.source.time_format import TimeFormat
from sku_velocity.source.timestamps import instant_reader
from sku_velocity.text import quote

LIMITS = (
    *("limit", "page_size", "pageSize", "per_page", "size", "$top", "take", "_limit", "max", "pgsiz"),
    *("limit_page_length", "entriesPerPage", "max_page", "_per_page", "perPage", "_size", "count"),
)
POSITIONS = (
    *("offset", "page", "skip", "start", "$skip", "_start", "_page", "pageNumber", "limit_start", "pgnum"),
    *("from", "page_number"),
)
CURSORS = ("cursor", "after", "page_token", "pageToken", "next_token", "starting_after", "continuation")
BOUNDS = (
    *(("start", "end"), ("from", "to"), ("start_date", "end_date"), ("date_from", "date_to")),
    *(("since", "until"), ("min_date", "max_date"), ("start_time", "end_time"), ("after", "before")),
)
TOTAL = re.compile(r"total|(^|_)count$|records_filtered")
TOTAL_HEADERS = ("X-Total-Count", "X-Total", "Total-Count")
SUFFIXES = (("__gte", "__lt"), ("_gte", "_lte"), ("_after", "_before"), ("_from", "_to"))
FOLLOWING = re.compile(r"next|cursor|continuation|after|token")
TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?")
ISO = re.compile(r"[\d-]{10}T\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)")
WRITTEN = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M")
FEW = 2  # records of a page that is requested as a trial
MAX_DEPTH = 4


class Reply(NamedTuple):
    """One answer: its JSON, its headers and its URL."""

    document: Any
    headers: Mapping[str, str]
    url: str


@dataclass
class Drafter:
    """Drafts the spec of the API that answers to these parameters; `spec` grows, `notes` say what is open."""

    client: SourceClient
    url: str
    params: dict[str, str]
    warehouse: str | None
    spec: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    window: Window = Window.everything()
    _templates: dict[str, str] = field(default_factory=dict)
    _path: str = ""
    _records: list[Any] = field(default_factory=list)

    async def draft(self) -> None:
        """Send the request, and trial requests of two records each, and fill in spec and notes.

        Raises ConfigurationError if the answer has no list of records, and what `SourceClient.fetch` raises.
        """
        first = await self._fetch(self.params)
        self._path, self._records = find_records(first.document, self.url)
        self.spec["records"] = {"path": self._path}
        found = draft_fields(self._records, self.warehouse)
        first, small = await self._draft_paging(first)
        self._draft_total(first, small)
        self._name_warehouse()
        if not self._name_bounds() and found.timestamp is not None:
            await self._draft_window(found.timestamp)
        self.spec["fields"] = found.fields
        self.notes += found.notes
        self.notes.append("no order was tried: set order.params to an ascending order, or order.stable")

    @property
    def request_params(self) -> dict[str, str]:
        """The parameters of `request`, with placeholders, without those that paging sets."""
        paging = self.spec.get("paging", {}).items()
        of_paging = {value for key, value in paging if key.endswith("_param")}
        return {key: value for key, value in self._templates.items() if key not in of_paging}

    async def _draft_paging(self, first: Reply) -> tuple[Reply, Reply]:
        """Find the parameters of the page size and the position, or the next page's cursor or link."""
        records = self._records
        if len(records) < 3 * FEW:
            self.notes.append(f"paging was not tried: {len(records)} records are too few; ask for more")
            return first, first
        path = self._path
        limit, small = await self._find_limit(first)
        if limit and self._path != path:
            self.spec["records"] = {"path": self._path}
            first = await self._fetch(self.params | {limit: str(len(self._records))})
        paging = await self._find_position(first, limit) or await self._find_following(small or first, limit)
        if paging is None:
            self.notes.append("paging was not found: no usual parameter of a position had an effect: set it")
            self.spec["paging"] = {"limit_param": limit} if limit else {}
        else:
            self.spec["paging"] = paging | {"limit_param": limit}
        if limit is None:
            self.notes.append("paging.limit_param was not found: set it if the API takes a page size")
            self.spec["paging"]["page_size"] = len(records)
        return first, small or first

    async def _find_limit(self, first: Reply) -> tuple[str | None, Reply | None]:
        """Return the parameter of the page size, and its answer, which some put into an envelope."""
        for name in self._likely(LIMITS, first):
            reply = await self._try({name: FEW})
            for path, records in _lists(reply.document) if reply else ():
                if records == self._records[:FEW]:
                    self._path = path
                    return name, reply
        return None, None

    async def _find_position(self, first: Reply, limit: str | None) -> dict[str, Any] | None:
        """Return the paging by offset or page number, as the records at positions 1 and 2 show it."""
        size, of_size = (FEW, {limit: FEW}) if limit else (len(self._records), {})
        for name in self._likely(POSITIONS, first):
            two = self._list(await self._try(of_size | {name: 2}))
            if not two or two == self._records[: len(two)]:
                continue
            one = self._list(await self._try(of_size | {name: 1}))
            if not limit:
                if one and not _share(two, self._records) and "pag" in name:
                    return {"style": "page", "page_param": name, "first": int(one == self._records)}
                continue
            for style, number, at_one, at_two in (
                ("offset", 0, 1, 2), ("page", 1, 0, size), ("page", 0, size, 2 * size), ("offset", 1, 0, 1),
            ):  # fmt: skip
                expected = [self._records[at : at + size] for at in (at_one, at_two)]
                if [one, two] == expected:
                    return {"style": style, f"{style}_param": name, "first": number}
        return None

    async def _find_following(self, page: Reply, limit: str | None) -> dict[str, Any] | None:
        """Return the paging by the link or cursor in an answer, if it leads to other records."""
        of_size: dict[str, Any] = {limit: FEW} if limit else {}
        size = len(self._list(page))
        for path in self._envelope(page):
            value = look_up(page.document, path)
            if (
                not FOLLOWING.search(snake_case(path))
                or not isinstance(value, str | int)
                or value in ("", True)
            ):
                continue
            if isinstance(value, str) and value.startswith(("http", "/", "?")):
                if self._continues(await self._follow(page, value), size):
                    return {"style": "next_link", "next_path": path}
                continue
            for name in dict.fromkeys((*CURSORS, path.rpartition(".")[2])):
                if self._continues(await self._try(of_size | {name: value}), size):
                    return {"style": "cursor", "cursor_param": name, "cursor_path": path}
        try:
            link = next_link(page.headers.get("Link", ""))
        except ValueError:
            link = None
        if link and self._continues(await self._follow(page, link), size):
            return {"style": "next_link"}
        return None

    def _continues(self, reply: Reply | None, size: int) -> bool:
        got, expected = self._list(reply), self._records[size:]
        return (
            bool(got)
            and not _share(got, self._records[:size])
            and got[: len(expected)] == expected[: len(got)]
        )

    def _draft_total(self, first: Reply, small: Reply) -> None:
        """Find a number that is no less than the records, and the same for pages of two sizes."""
        for path in self._envelope(first):
            if TOTAL.search(snake_case(path)) and self._is_total(
                look_up(first.document, path), look_up(small.document, path)
            ):
                self.spec["total"] = {"from": "body", "path": path}
                return
        for name in TOTAL_HEADERS:
            if self._is_total(first.headers.get(name), small.headers.get(name)):
                self.spec["total"] = {"from": "header", "header": name}
                return
        ranges = [reply.headers.get("Content-Range", "").rpartition("/")[2] for reply in (first, small)]
        if self._is_total(*ranges):
            self.spec["total"] = {"from": "content_range"}
            return
        self.notes.append("total was not found: each run searches for the end; set it if the API reports one")

    def _is_total(self, value: Any, other: Any) -> bool:
        try:
            return checked_count(value) == checked_count(other) >= len(self._records)
        except (TypeError, ValueError):
            return False

    def _name_warehouse(self) -> None:
        """Put the placeholder in place of the warehouse: a whole value, or a quoted or dotted part."""
        name = re.escape(self.warehouse or "")
        part = re.compile(rf"""(?<=['".]){name}(?=['"]|$)|^{name}$""")
        named = {key: part.sub("{warehouse}", value) for key, value in self.params.items()} if name else {}
        if named == self.params or not named:
            self.notes.append("no parameter of the URL names the warehouse (--warehouse): set request.params")
        self._templates = named or dict(self.params)

    async def _draft_window(self, time: TimestampSpec) -> None:
        """Find the parameters of the window by asking for a part of the records."""
        times = sorted(_instant(record, time) for record in self._records)
        middle = times[len(times) // 2]
        leaf = (time.paths[0]).rpartition(".")[2]
        for form in dict.fromkeys((_window_format(time.format), "iso") if middle > times[0] else ()):
            for start, end in (*BOUNDS, *((f"{leaf}{one}", f"{leaf}{other}") for one, other in SUFFIXES)):
                if await self._bounds_are_kept(start, end, form, time):
                    self.window = Window(times[0], times[-1] + timedelta(seconds=1))
                    self._set_window(start, end, form)
                    return
        self.notes.append("window was not found: each run reads all records; set window.params")

    def _name_bounds(self) -> bool:
        """Put the window's bounds in place of the two times in the URL. Return False if it has other ones."""
        found = sorted({text for value in self.params.values() for text in TIME.findall(value)})
        form = written_format(found[0]) if len(found) == 2 else None
        if form is None or form != written_format(found[1]):
            if found:
                self.notes.append(
                    f"the URL has fixed times, {found[0]}: put {{start}} and {{end}} in their place"
                )
            return False
        bounds = dict(zip(found, ("{start}", "{end}"), strict=True))
        named = {key: TIME.sub(lambda at: bounds[at[0]], value) for key, value in self._templates.items()}
        whole = {value.strip("{}"): key for key, value in named.items() if value in bounds.values()}
        if len(whole) == 2:
            named = {key: value for key, value in named.items() if key not in whole.values()}
            self._set_window(whole["start"], whole["end"], form)
        else:
            self._set_window("", "", form)
        self._templates = named
        read = instant_reader(TimestampSpec(path=("at",), format=_time_format(form), assume_timezone="UTC"))
        self.window = Window(*map(read, found))
        return True

    def _set_window(self, start: str, end: str, form: str) -> None:
        params = {"params": {"start": start, "end": end}} if start else {}
        self.spec["window"] = params | {"format": form}
        self.notes.append("window: check if its bounds are inclusive, in which zone they are, and its grain")

    async def _bounds_are_kept(self, start: str, end: str, form: str, time: TimestampSpec) -> bool:
        """Return True if the source returns only the records on one side of an instant, then the other."""
        times = sorted(_instant(record, time) for record in self._records)
        first, middle, last = times[0], times[len(times) // 2], times[-1] + timedelta(days=1)
        bounds = [written_since(each, WindowSpec(format=form)) for each in (first, middle, last)]
        late = self._list(await self._try({start: bounds[1], end: bounds[2]}))
        if not late or any(_instant(record, time) < middle for record in late):
            return False
        early = self._list(await self._try({start: bounds[0], end: bounds[1]}))
        return bool(early) and all(_instant(record, time) <= middle for record in early)

    def _likely(self, names: Sequence[str], reply: Reply) -> list[str]:
        """Return the names in the order in which they are tried: those of the URL and the answer first."""
        seen = {*self.params, *(path.rpartition(".")[2] for path in self._envelope(reply))}
        return sorted(names, key=lambda name: name not in seen)

    def _envelope(self, reply: Reply) -> list[str]:
        """Return the paths of the values beside the records."""
        if not isinstance(reply.document, Mapping):
            return []
        return [path for path in leaves(reply.document) if not path.startswith(f"{self._path}.")]

    def _list(self, reply: Reply | None) -> list[Any]:
        found = (reply.document if not self._path else look_up(reply.document, self._path)) if reply else None
        return found if isinstance(found, list) else []

    async def _try(self, more: Mapping[str, Any]) -> Reply | None:
        """Send a trial request; None if the API refuses it."""
        try:
            return await self._fetch({**self.params, **more})
        except VelocityError:
            return None

    async def _follow(self, page: Reply, link: str) -> Reply | None:
        target = httpx.URL(page.url).join(link)
        if target.host != httpx.URL(page.url).host:
            return None
        try:
            return await self._fetch(None, str(target))
        except VelocityError:
            return None

    async def _fetch(self, params: Mapping[str, Any] | None, url: str | None = None) -> Reply:
        request = self.client.build_request(RequestParts("GET", url or self.url, params, {}))
        response = await self.client.fetch(request, _decode)
        return Reply(response.content, response.headers, str(request.url))


def find_records(document: Any, url: str) -> tuple[str, list[Any]]:
    """Return the longest list of objects in an answer, and its path. Raises ConfigurationError if none is."""
    found = sorted(_lists(document), key=lambda each: -len(each[1]))
    if not found:
        keys = f"the keys {', '.join(document)}" if isinstance(document, Mapping) else "no keys"
        raise ConfigurationError(
            f"draft: the answer of {url} has no list of records (it has {quote(keys.encode())}): use a URL "
            "and a window whose answer contains some"
        )
    return found[0]


def _lists(value: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        yield ".".join(above), value
    elif isinstance(value, Mapping) and len(above) < MAX_DEPTH:
        for key, below in value.items():
            yield from _lists(below, (*above, key.replace(".", "\\.")))


def _instant(record: Any, time: TimestampSpec) -> datetime:
    parts = [str(value) if time.join else value for path in time.paths if (value := look_up(record, path))]
    return instant_reader(time)(" ".join(parts) if time.join else parts[0]).astimezone(UTC)


def written_format(text: str) -> str | None:
    """Return the format of a window's bounds in which a time is written like this; None if there is none."""
    if ISO.fullmatch(text):
        return "iso"
    for form in WRITTEN:
        try:
            if TimeFormat.of(form).write(TimeFormat.of(form).read(text)) == text:
                return "date" if form == WRITTEN[0] else form
        except ValueError:
            continue
    return None


def _time_format(form: str) -> str:
    return WRITTEN[0] if form == "date" else form


def _window_format(form: str) -> str:
    """Return the format of a window's bounds that is like that of the records' times."""
    return {"odata_v2": "iso", "%Y-%m-%d": "date"}.get(form, form)


def _decode(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise UnreadableBodyError(f"the response is not JSON: {quote(body)}") from error


def _share(first: Iterable[Any], second: Iterable[Any]) -> bool:
    texts = [{json.dumps(each, sort_keys=True) for each in records} for records in (first, second)]
    return bool(texts[0] & texts[1])

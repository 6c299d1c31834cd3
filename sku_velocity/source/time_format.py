"""Time formats made of strptime directives, in English: a format must read back what it writes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import cached_property, lru_cache

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SHORTHANDS = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%R": "%H:%M"}
TOKEN = re.compile(r"%(?P<directive>.?)|(?P<space>\s+)|(?P<text>[^%\s]+)", re.DOTALL)
NUMBERS = frozenset("YymdjHIMSf")
# What directives are replaced by to examine the text between them, and a time zone in that text. A minus and
# two digits may also be minutes (%H-00): they are an offset only after the seconds, or with minutes.
SECOND_MARK, TIME_MARK, DATE_MARK = "\x01", "\x02", "\x03"
ZONE = re.compile(
    r"(?<![A-Za-z])(?P<name>(?i:Z|UTC|GMT|UT)|WES?T|CES?T|MES?Z|EES?T|[BIJKM]ST|MSK|SAST|SGT|HKT|A[ECW][SD]T"
    r"|NZ[SD]T|[AECMP][SD]T|AK[SD]T|HST)(?![A-Za-z])(?!\s?[+\u2212-]\d)|"
    r"(?:(?:UTC|GMT)\s?)?(?P<offset>[+\u2212-](?:0\d|1[0-4]):?[0-5]\d|\+(?:0\d|1[0-4])"
    r"|(?<=\x01)[\u2212-](?:0\d|1[0-4])|(?<=UTC|GMT)[+\u2212-]\d)(?![:\d])"
)
REASONS = {
    "s": "it depends on the zone of this computer: use epoch_s",
    **dict.fromkeys("cxX", "it depends on the language of this computer: write its parts, as in %Y-%m-%d"),
    "": "a % must be followed by a letter; write %% for a percent sign",
}
ONE_OR_TWO = (r"[0-5]\d", r"\d")


class AmbiguousTimeError(ValueError):
    """The digits of a time can be split into its parts in more than one way."""


@dataclass(frozen=True)
class Directive:
    """One directive: the part of a time that it is, its spellings from the longest on, and how it is written.

    `grain` is the resolution of a format in which it is the finest directive.
    """

    part: str
    spellings: tuple[str, ...]
    write: Callable[[datetime], str]
    grain: timedelta = DAY


DIRECTIVES = {
    "Y": Directive("year", (r"\d{4}",), lambda at: f"{at.year:04}"),
    "y": Directive("year", (r"\d\d",), lambda at: f"{at.year % 100:02}"),
    "m": Directive("month", ("0[1-9]|1[0-2]", "[1-9]"), lambda at: f"{at.month:02}"),
    "B": Directive("month", ("|".join(MONTHS),), lambda at: MONTHS[at.month - 1]),
    "b": Directive("month", ("|".join(m[:3] for m in MONTHS),), lambda at: MONTHS[at.month - 1][:3]),
    "d": Directive("day", (r"0[1-9]|[12]\d|3[01]", "[1-9]"), lambda at: f"{at.day:02}"),
    "j": Directive("day", (r"\d{3}", r"\d\d", r"\d"), lambda at: f"{at.timetuple().tm_yday:03}"),
    "A": Directive("weekday", ("|".join(DAYS),), lambda at: DAYS[at.weekday()]),
    "a": Directive("weekday", ("|".join(d[:3] for d in DAYS),), lambda at: DAYS[at.weekday()][:3]),
    "H": Directive("hour", (r"[01]\d|2[0-3]", r"\d"), lambda at: f"{at.hour:02}", HOUR),
    "I": Directive("hour", ("0[1-9]|1[0-2]", "[1-9]"), lambda at: f"{at.hour % 12 or 12:02}", HOUR),
    "p": Directive("AM or PM", ("AM|PM",), lambda at: "AM" if at.hour < 12 else "PM"),
    "M": Directive("minute", ONE_OR_TWO, lambda at: f"{at.minute:02}", MINUTE),
    "S": Directive("second", ONE_OR_TWO, lambda at: f"{at.second:02}", SECOND),
    "f": Directive(
        "fraction",
        tuple(rf"\d{{{digits}}}" for digits in range(6, 0, -1)),
        lambda at: f"{at.microsecond:06}",
        MICROSECOND,
    ),
    "z": Directive("zone", (r"[+-]\d\d:?[0-5]\d", r"[+-]\d\d", "Z"), lambda at: f"{at:%z}"),
    "Z": Directive("zone", ("GMT|UTC|Z",), lambda at: at.tzname() or ""),
}
SAMPLES = tuple(
    datetime.fromisoformat(text)
    for text in (
        "1999-12-31T23:59:59.999999",
        "2026-01-05T01:02:03.000004",
        "2026-07-31T13:30:00",
        "2028-02-29T12:00:59.120000",
    )
)


class TimeFormat:
    """A format such as `%d.%m.%Y %H:%M`. It does not depend on the locale of the process.

    Raises ValueError for a directive that is unknown or depends on this computer.
    """

    def __init__(self, form: str) -> None:
        self.form = form
        for shorthand, meaning in SHORTHANDS.items():
            form = form.replace(shorthand, meaning)
        self._tokens = [(match.lastgroup, match[match.lastgroup or 0]) for match in TOKEN.finditer(form)]
        self._names = [text for kind, text in self._tokens if kind == "directive" and text != "%"]
        for name in self._names:
            if name not in DIRECTIVES:
                known = ", ".join(f"%{each}" for each in DIRECTIVES)
                raise ValueError(f"%{name} cannot be used: {REASONS.get(name, f'use one of {known}')}")
        parts = Counter(DIRECTIVES[name].part for name in self._names)
        if twice := [part for part, count in parts.items() if count > 1]:
            raise ValueError(f"the format {self.form!r} has the {twice[0]} twice")

    @staticmethod
    @lru_cache(maxsize=256)
    def of(form: str) -> TimeFormat:
        """Return the format, compiled once."""
        return TimeFormat(form)

    @cached_property
    def grain(self) -> timedelta:
        """The format's resolution; a day, if it has only a date."""
        return min((DIRECTIVES[name].grain for name in self._names), default=DAY)

    @property
    def has_zone(self) -> bool:
        """Whether a written time contains its offset from UTC."""
        return "z" in self._names or "Z" in self._names

    def check_round_trip(self, zone: tzinfo = UTC) -> None:
        """Check that times of the format's own grain, in a zone, are read back as they were written.

        Raises ValueError with an example if one is not.
        """
        for sample in SAMPLES:
            at = floor(sample, self.grain).replace(tzinfo=zone)
            text = self.write(at)
            try:
                read = self.read(text)
                fault = f"which is read as {read:%Y-%m-%d %H:%M:%S}"
            except ValueError as error:
                read, fault = None, f"which cannot be read: {error}"
            if read is None or (read if read.tzinfo else read.replace(tzinfo=zone)) != at:
                raise ValueError(
                    f"the format {self.form!r} does not read back what it writes: "
                    f"{at:%Y-%m-%d %H:%M:%S} is written as {text!r}, {fault}"
                )

    def check_literals(self, zone: tzinfo | None, key: str) -> None:
        """Check that the text between the directives contradicts neither the time zone nor the time.

        Raises ValueError for a zone such as Z or +01:00, unless `zone`, at `key` of the spec, is that one all
        year, and for a part of the time other than 0, as in 23:59:59: a time is the start of its day or hour.
        """
        text = "".join(
            _mark(directive) if kind == "directive" else directive for kind, directive in self._tokens
        )
        if (found := ZONE.search(text)) and not self.has_zone:
            if zone and not _is_always(zone, found["name"], found["offset"]):
                raise ValueError(
                    f"the {found[0]} in the format {self.form!r} is a time zone, but {key} is {zone}: "
                    f"set {key} to that one, or write %z instead"
                )
            text = text[: found.start()] + text[found.end() :]
        parts = [*re.findall(r"[\x01\x02]([^\x01-\x03]*)", text), text.rpartition(DATE_MARK)[2]]
        if fixed := next((part for part in parts if re.search(r"[1-9]", part)), None):
            raise ValueError(
                f"the format {self.form!r} has a fixed time, {re.sub('[^ -~]', '', fixed).strip()}, which is "
                "not the start of the day, hour or minute: use directives such as %H:%M:%S, or zeros"
            )

    def write(self, at: datetime) -> str:
        """Return a time as text."""
        return "".join(
            text if kind != "directive" else "%" if text == "%" else DIRECTIVES[text].write(at)
            for kind, text in self._tokens
        )

    def read(self, text: str) -> datetime:
        """Parse a time; it has a zone if the format has one. Fractions of a microsecond are dropped.

        Raises AmbiguousTimeError if the digits could be split differently, and ValueError if the text does
        not match the format.
        """
        match = self._longest_only.fullmatch(text) or self._match_only_split(text)
        values = dict(zip(self._names, match.groups(), strict=True))
        return datetime(
            *_date(values),
            _hour(values),
            int(values.get("M", 0)),
            int(values.get("S", 0)),
            int(values["f"][:6].ljust(6, "0")) if "f" in values else 0,
            tzinfo=_zone(values),
        )

    def _match_only_split(self, text: str) -> re.Match[str]:
        """Match a text with parts shorter than they can be.

        The two patterns prefer the spellings in opposite orders: they agree only if there is no other split.
        """
        longest, shortest = self._longest_first.fullmatch(text), self._shortest_first.fullmatch(text)
        if longest is None or shortest is None:
            raise ValueError("it does not match the format")
        if longest.groups() != shortest.groups():
            raise AmbiguousTimeError("its digits can be split differently")
        return longest

    @cached_property
    def _longest_only(self) -> re.Pattern[str]:
        return self._compiled(lambda spellings: spellings[:1])

    @cached_property
    def _longest_first(self) -> re.Pattern[str]:
        return self._compiled(lambda spellings: spellings)

    @cached_property
    def _shortest_first(self) -> re.Pattern[str]:
        return self._compiled(lambda spellings: spellings[::-1])

    def _compiled(self, ordered: Callable[[tuple[str, ...]], tuple[str, ...]]) -> re.Pattern[str]:
        parts = []
        for number, (kind, text) in enumerate(self._tokens):
            if kind == "space":
                parts.append(r"\s+")
            elif kind == "text" or text == "%":
                parts.append(re.escape(text))
            else:
                next_to = self._tokens[max(number - 1, 0) : number] + self._tokens[number + 1 : number + 2]
                is_alone = not any(kind == "directive" and text in NUMBERS for kind, text in next_to)
                spellings = (r"\d+",) if text == "f" and is_alone else DIRECTIVES[text].spellings
                parts.append(f"({'|'.join(ordered(spellings))})")
        return re.compile("".join(parts), re.ASCII | re.IGNORECASE)


def _mark(directive: str) -> str:
    """Return the mark of a directive: of seconds, of another part of the time, or of the date."""
    if directive == "%":
        return directive
    if directive in "Sf":
        return SECOND_MARK
    return TIME_MARK if directive in "HIMpzZ" else DATE_MARK


def _is_always(zone: tzinfo, name: str | None, offset: str | None) -> bool:
    """Return True if a zone has this name or offset in every month."""
    months = [datetime(2026, month, 1, tzinfo=zone) for month in range(1, 13)]
    offsets = {at.utcoffset() for at in months}
    if offset:
        digits = offset[1:].rjust(2, "0")
        written = _zone({"z": ("+" if offset[0] == "+" else "-") + digits})
        return offsets == {written.utcoffset(None) if written else None}
    if name and name.upper() in ("Z", "UTC", "GMT", "UT"):
        return offsets == {timedelta(0)}
    return {at.tzname() for at in months} == {name}


def floor(wall: datetime, grain: timedelta) -> datetime:
    """Return the last multiple of a grain, of at most a day, up to a wall time."""
    midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (wall - midnight) // grain * grain


def _date(values: dict[str, str]) -> tuple[int, int, int]:
    if "Y" not in values and "y" not in values:
        raise ValueError("it has no year")
    year = int(values["Y"]) if "Y" in values else _full_year(int(values["y"]))
    if "j" in values:
        day = date(year, 1, 1) + timedelta(days=int(values["j"]) - 1)
        if day.year != year:
            raise ValueError("the year has no such day")
        return year, day.month, day.day
    name = values.get("b") or values.get("B")
    month = _month(name) if name else int(values.get("m", 0))
    if not month or "d" not in values:
        raise ValueError("it has no month or no day")
    return year, month, int(values["d"])


def _full_year(year: int) -> int:
    """Return the year that two digits mean in POSIX: 1969 to 2068."""
    return year + (2000 if year < 69 else 1900)


def _month(name: str) -> int:
    return next(number for number, month in enumerate(MONTHS, 1) if month[:3] == name[:3].title())


def _hour(values: dict[str, str]) -> int:
    is_afternoon = values.get("p", "").upper() == "PM"
    if "I" in values:
        return int(values["I"]) % 12 + 12 * is_afternoon
    hour = int(values.get("H", 0))
    if "p" in values and is_afternoon != (hour >= 12):
        raise ValueError("its hour contradicts AM or PM: use %I for an hour of 1 to 12")
    return hour


def _zone(values: dict[str, str]) -> tzinfo | None:
    if "Z" in values or values.get("z", "").upper() == "Z":
        return UTC
    if "z" not in values:
        return None
    sign, digits = values["z"][0], values["z"][1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if sign == "-" else offset)

"""Masks the secrets of the open clients in text, in all their usual spellings."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from html.entities import codepoint2name
from threading import Lock
from urllib.parse import quote as percent_encode
from urllib.parse import quote_plus as form_encode

MASK = "***"
KEPT_VALUES = 6  # of a secret that is renewed: a response may still repeat an earlier one
LONGEST_SPELLING = 12  # characters, of one character of a secret
_CUT_SPELLING = re.compile(r"([\\%&\ufffd].{0,11})?", re.DOTALL)
PLACEHOLDER = "~secret."  # how one starts; URLs and JSON leave all its characters as they are
_PLACEHOLDER = re.compile(r"~secret\.([a-z]+)\.([a-z]+)~")
_SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "percent": lambda value: percent_encode(value, ""),
    "lower": lambda value: re.sub("%..", lambda found: found[0].lower(), percent_encode(value, "")),
    "form": form_encode,
    "json": lambda value: json.dumps(value)[1:-1],
    "php": lambda value: json.dumps(value)[1:-1].replace("/", "\\/"),
}


class Secret:
    """One secret, which finds itself in a text.

    Each of its characters may be spelled in its own way, so that escapes of JSON, PHP, URLs, forms and HTML
    are found, also one within the other. The first half of a long secret is found, too: a server may have cut
    the rest.
    """

    def __init__(self, value: str) -> None:
        self.value = value
        self._core = max(re.findall("[A-Za-z0-9]+", value), key=len, default="")
        # Whether it cannot be mistaken for a word or a number of ordinary text.
        is_plain = value.isalpha() or value.isdecimal()
        self.is_distinctive = len(value) >= 16 or (len(value) >= 8 and not is_plain)

    @cached_property
    def _head(self) -> re.Pattern[str]:
        size = min(max(8, (len(self._units) + 1) // 2), 32)
        return re.compile("".join(map(_spellings_of, "".join(self._units[:size]))))

    @cached_property
    def _units(self) -> list[str]:
        """The characters, each with the backslashes before it: only together can they be counted."""
        return re.findall(r"\\*[^\\]|\\+\Z", self.value)

    def find(self, text: str) -> Iterator[tuple[int, int, bool]]:
        """Yield the start and end of each occurrence, and whether it is the whole secret."""
        position = 0
        while head := self._head.search(text, position):
            end, is_whole = self._extend(text, head.start())
            position = max(head.end(), end)
            yield head.start(), position, is_whole

    def find_cut(self, text: str) -> Iterator[tuple[int, int, bool]]:
        """Yield the beginning of an occurrence that the end of the text cuts."""
        for start in range(max(0, len(text) - LONGEST_SPELLING * len(self.value)), len(text)):
            if _CUT_SPELLING.fullmatch(text, self._extend(text, start)[0]):
                yield start, len(text), False
                return

    def may_be_in(self, text: str) -> bool:
        """Return False if the text certainly contains no usual spelling: fast, for data."""
        return len(self._core) < 6 or self._core in text

    def _extend(self, text: str, start: int) -> tuple[int, bool]:
        """Return where the text, from a start on, no longer matches the secret, and whether all of it did."""
        for unit in self._units:
            found = _pattern_of(unit).match(text, start)
            if found is None:
                return start, False
            start = found.end()
        return start, True


class Secrets:
    """The secrets of one client by name, masked in all text of this process while the client is open."""

    def __init__(self, **values: str) -> None:
        self._values = {name: [Secret(value)] for name, value in values.items() if value}
        self.all = self._list()

    def renew(self, name: str, value: str) -> None:
        """Replace a secret; its last few values stay masked."""
        self._values[name] = [Secret(value), *self._values.get(name, [])][:KEPT_VALUES]
        self.all = self._list()

    @contextmanager
    def masked(self) -> Iterator[None]:
        """Mask the secrets until the block exits."""
        with _changes:
            _known.append(self)
        try:
            yield
        finally:
            with _changes:
                _known.remove(self)

    def conceal(self, text: str, is_url: bool = False) -> str:
        """Replace each secret in a text by a placeholder, which `reveal` replaces by the secret again."""
        found = []
        for name, secrets in self._values.items():
            for secret in secrets:
                for start, end, is_whole in secret.find(text):
                    if is_whole:
                        spelling = "plain" if is_url else _spelling_of(secret.value, text[start:end])
                        found.append((start, end, f"~secret.{name}.{spelling}~"))
        return _replace(text, found)

    def reveal(self, text: str, encode: Callable[[str], str]) -> str:
        """Replace the placeholders in a text by the current secrets, each encoded for its place."""

        def value_of(found: re.Match[str]) -> str:
            name, spelling = found.groups()
            if name not in self._values or spelling not in _SPELLINGS:
                return found[0]
            return encode(_SPELLINGS[spelling](self._values[name][0].value))

        return _PLACEHOLDER.sub(value_of, text)

    def _list(self) -> tuple[Secret, ...]:
        return tuple(secret for secrets in self._values.values() for secret in secrets)


_known: list[Secrets] = []
_changes = Lock()


def hide(text: str, is_cut: bool = False) -> str:
    """Return a text without secrets. Hide before cutting a text; one that was cut before has `is_cut`."""
    secrets = _all_known()
    found = [span for secret in secrets for span in secret.find(text)]
    if is_cut:
        found += [span for secret in secrets for span in secret.find_cut(text)]
    return _mask(text, found)


def hide_distinctive(text: str) -> str:
    """Return data or a message without secrets, except for those that could be a word or a number of it."""
    secrets = [secret for secret in _all_known() if secret.is_distinctive and secret.may_be_in(text)]
    return _mask(text, [span for secret in secrets for span in secret.find(text)]) if secrets else text


def hide_messages(error: BaseException | None) -> None:
    """Hide the secrets in the messages of an error and its causes, which a traceback contains."""
    while error is not None:
        error.args = tuple(hide(each) if isinstance(each, str) else each for each in error.args)
        error = error.__cause__ or error.__context__


def in_base64(user: str, password: str) -> dict[str, str]:
    """Return the secrets of HTTP Basic: the encoded pair, also with the alphabet for URLs."""
    encoded = b64encode(f"{user}:{password}".encode()).decode()
    return {"basic": encoded, "basicurl": encoded.translate(str.maketrans("+/", "-_"))}


def _all_known() -> list[Secret]:
    return [secret for secrets in tuple(_known) for secret in secrets.all] if _known else []


def _mask(text: str, found: Iterable[tuple[int, int, bool]]) -> str:
    return _replace(text, [(start, end, MASK) for start, end, _ in found])


def _replace(text: str, found: list[tuple[int, int, str]]) -> str:
    """Replace the spans of a text; of those that overlap, the first and longest, and what the others add."""
    parts, position = [], 0
    for start, end, replacement in sorted(found, key=lambda span: (span[0], -span[1])):
        if start >= position:
            parts += [text[position:start], replacement]
        position = max(position, end)
    return "".join([*parts, text[position:]])


def _spelling_of(value: str, text: str) -> str:
    return next((name for name, spell in _SPELLINGS.items() if spell(value) == text), "plain")


@cache
def _pattern_of(characters: str) -> re.Pattern[str]:
    return re.compile("".join(map(_spellings_of, characters)))


@cache
def _spellings_of(character: str) -> str:
    """Return a pattern of all spellings of one character."""
    code, utf8 = ord(character), character.encode("utf-8", "surrogatepass")
    utf16 = character.encode("utf-16-be", "surrogatepass").hex(" ", 2).split()
    plain = re.escape(character)
    spellings = [
        "".join(rf"\\\\*u{_any_case(unit)}" for unit in utf16),
        rf"\\\\*{plain}",
        "".join(rf"%(?:25)*{_any_case(f'{byte:02x}')}" for byte in utf8),
        rf"&(?:amp;)*#(?:0*{code}|[xX]0*{_any_case(f'{code:x}')});",
    ]
    if name := {34: "quot", 39: "apos"}.get(code, codepoint2name.get(code)):
        spellings.append(f"&(?:amp;)*{name};")
    if character == " ":
        spellings.append(r"\+")
    if code < 256:
        spellings.append(rf"\\\\*x{_any_case(f'{code:02x}')}")
    if 128 <= code < 256:
        spellings.append(f"%{_any_case(f'{code:02x}')}")
    if code >= 128:  # read with the wrong character set
        spellings += [re.escape(utf8.decode("latin-1")), rf"\ufffd{{1,{len(utf8)}}}"]
    return f"(?:{'|'.join([*spellings, plain])})"  # last: an escaped backslash starts with one


def _any_case(digits: str) -> str:
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in digits)

"""A secret is found in text however it is spelled, and hidden before the text is cut."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote as percent_encode
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sku_velocity.errors import SourceMappingError
from sku_velocity.masking import Secrets, hide, hide_distinctive, in_base64
from sku_velocity.text import QUOTED_BYTES, quote, shorten

SECRET = 'Zq7"Xw9/Kp3+Lm5=Vt8 <&\\ä'
SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "JSON": json.dumps,
    "JSON in UTF-8": lambda secret: json.dumps(secret, ensure_ascii=False),
    "PHP": lambda secret: json.dumps(secret).replace("/", "\\/"),
    "JSON in JSON": lambda secret: json.dumps(json.dumps(secret)),
    "PHP in JSON": lambda secret: json.dumps(json.dumps(secret).replace("/", "\\/")),
    "unicode escapes": lambda secret: "".join(f"\\u{ord(each):04x}" for each in secret),
    "upper-case escapes": lambda secret: "".join(f"\\u{ord(each):04X}" for each in secret),
    "percent": lambda secret: percent_encode(secret, ""),
    "percent, slash kept": percent_encode,
    "lower-case percent": lambda secret: re.sub(
        "%..", lambda found: found[0].lower(), percent_encode(secret, "")
    ),
    "percent twice": lambda secret: percent_encode(percent_encode(secret, ""), ""),
    "each percent": lambda secret: "".join(f"%{byte:02X}" for byte in secret.encode()),
    "form": quote_plus,
    "HTML": html.escape,
    "HTML twice": lambda secret: html.escape(html.escape(secret)),
    "HTML numbers": lambda secret: "".join(f"&#{ord(each)};" for each in secret),
    "HTML hex numbers": lambda secret: "".join(f"&#x{ord(each):X};" for each in secret),
    "URL userinfo": lambda secret: f"https://me:{percent_encode(secret, '')}@wms.example.com",
    "wrong character set": lambda secret: secret.encode().decode("latin-1"),
    "repr": repr,
    "first two thirds": lambda secret: secret[:16],
    "Base64 of user:password": lambda secret: b64encode(f"me:{secret}".encode()).decode(),
    "Base64 for URLs": lambda secret: urlsafe_b64encode(f"me:{secret}".encode()).decode().rstrip("="),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_is_hidden_in_each_usual_spelling(spelling: str) -> None:
    text = SPELLINGS[spelling](SECRET)
    with Secrets(secret=SECRET, **in_base64("me", SECRET)).masked():
        shown = hide(f"token {text}, twice {text}.")
    assert shown.count("***") == 2 and not any(part in shown for part in ("Zq7", "Xw9", "Kp3", "Lm5", "Vt8"))
    assert text[8:16] not in shown and hide(text) == text


CHARACTERS = st.characters(min_codepoint=32, max_codepoint=0xFFFF, exclude_categories=["Cs"])


@settings(deadline=None)
@given(st.text(CHARACTERS, min_size=1, max_size=40))
def test_any_secret_is_hidden_in_each_spelling(secret: str) -> None:
    with Secrets(secret=secret).masked():
        for spell in list(SPELLINGS.values())[:14]:
            assert set(hide(spell(secret))) <= set('*"\\')


@pytest.mark.parametrize("pad", range(180, 201))
def test_a_quote_that_ends_within_a_secret_shows_none_of_it(pad: int) -> None:
    with Secrets(secret="abcdefgh-0123456789").masked():
        shown = quote(b"x" * pad + b"abcdefgh-0123456789 is no token")
    assert shown.strip("x").startswith(("***", "**", "*")) or shown == "x" * 200


@pytest.mark.parametrize("before", range(25))
@pytest.mark.parametrize("spell", ["plain", "PHP", "percent", "HTML"])
def test_a_window_that_ends_within_a_secret_shows_none_of_it(before: int, spell: str) -> None:
    text = SPELLINGS[spell]("/+Zq7/Xw9/Kp3").strip('"').encode()
    with Secrets(secret="/+Zq7/Xw9/Kp3").masked():
        assert quote(b" " * (QUOTED_BYTES - before) + text) in ("", "***")
        assert quote(b"no: " + text[:before], is_cut=True) in ("no:", "no: ***")


def test_a_body_in_utf_16_is_quoted_readably_and_without_the_secret() -> None:
    with Secrets(secret=SECRET).masked():
        assert quote(json.dumps({"no": SECRET}).encode("utf-16")) == '{"no": "***"}'


def test_a_text_is_shortened_after_the_secret_is_hidden() -> None:
    with Secrets(secret="abcdefgh-0123456789").masked():
        assert shorten("x" * 295 + "abcdefgh-0123456789").startswith("x" * 295 + "***")


def test_every_error_message_is_without_secrets() -> None:
    with Secrets(secret="abcdefgh-0123456789").masked():
        assert str(SourceMappingError("no abcdefgh-0123456789 here")) == "no *** here"


@pytest.mark.parametrize("secret", ["warehouse", "12345678", "admin", "a1"])
def test_data_keeps_words_and_numbers_that_are_also_a_secret(secret: str) -> None:
    with Secrets(secret=secret).masked():
        assert hide_distinctive(f"the {secret}") == f"the {secret}" and hide(f"the {secret}") == "the ***"


@pytest.mark.parametrize(
    "spelling", ["plain", "percent", "percent, slash kept", "form", "lower-case percent"]
)
def test_a_link_is_kept_without_its_secret_which_is_put_back(spelling: str) -> None:
    secrets = Secrets(secret="Zq7/Xw9+Kp3=")
    link = f"https://wms.example.com/m?k={SPELLINGS[spelling]('Zq7/Xw9+Kp3=')}&page=2"
    kept = secrets.conceal(link, is_url=True)
    assert kept == "https://wms.example.com/m?k=~secret.secret.plain~&page=2"
    assert secrets.reveal(kept, quote_plus) == "https://wms.example.com/m?k=Zq7%2FXw9%2BKp3%3D&page=2"


@pytest.mark.parametrize("spelling", ["plain", "percent", "form", "lower-case percent"])
def test_a_cursor_gets_its_secret_back_as_it_was_spelled(spelling: str) -> None:
    secrets = Secrets(secret="Zq7/Xw9+Kp3=")
    cursor = f"k={SPELLINGS[spelling]('Zq7/Xw9+Kp3=')}|1001"
    kept = secrets.conceal(cursor)
    assert "Zq7" not in kept and secrets.reveal(kept, str) == cursor


def test_a_cursor_with_a_renewed_token_gets_the_current_one() -> None:
    secrets = Secrets(secret="a-client-secret")
    secrets.renew("token", "first-token-1")
    kept = secrets.conceal("page=2&t=first-token-1")
    secrets.renew("token", "second-token-2")
    assert secrets.reveal(kept, str) == "page=2&t=second-token-2"
    assert secrets.conceal("t=first-token-1") == "t=~secret.token.plain~"

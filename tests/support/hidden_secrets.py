"""Secrets that a hostile source and a hostile engine repeat in every spelling, and the search for them."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote as percent_encode

import yaml

from tests.support.scripted_server import Reply

HIDDEN = {  # JSON, PHP, forms and URLs escape them differently
    "the source's token": "Zq7x/Xw9k+Kp3m=Lm5p",
    "the fetched token": "Ft4w/Gu8e+Hv6r=Jx2t",
    "the store's password": "Pc5n/Qd9b+Re3v=Sf7c",
    "the engine's token": "Ua6l/Vb2k+Wc8j=Yd4h",
}
SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    lambda secret: secret.replace("/", "\\/"),
    lambda secret: "".join(f"\\u{ord(each):04x}" for each in secret),
    lambda secret: percent_encode(secret, ""),
    lambda secret: "".join(f"%{ord(each):02x}" for each in secret),
    lambda secret: "".join(f"&#{ord(each)};" for each in secret),
    lambda secret: html.escape(secret).replace("/", "&#x2F;"),
    lambda secret: f"https://me:{percent_encode(secret, '')}@wms.example.com",
)
KINDS: dict[str, dict[str, Any]] = {
    "bearer": {"kind": "bearer"},
    "header": {"kind": "header", "header": "X-Key", "prefix": "key "},
    "basic": {"kind": "basic", "username": "me"},
    "oauth2": {"kind": "oauth2_client_credentials", "client_id": "me", "token_url": "{url}/token"},
    "json-body": {"kind": "json_body", "values": {"key": "{token}"}},
}
RECORD = {"warehouse_id": "WH-01", "units_moved": 1, "timestamp_utc": "2026-03-02T00:00:00Z"}


def basic(password: str) -> str:
    return base64.b64encode(f"me:{password}".encode()).decode()


def repeated(*secrets: str) -> str:
    """Return the text in which a hostile server repeats secrets, in all spellings."""
    return " ".join(spell(secret) for secret in secrets for spell in SPELLINGS)


def leaks_in(content: str) -> list[str]:
    """Return where a content holds a part of a secret, in any spelling."""
    found = []
    for name, secret in HIDDEN.items():
        parts = [*re.split("[/+=]", secret), *(spell(secret)[4:28] for spell in SPELLINGS[1:-1])]
        parts.append(basic(secret)[4:])
        for part in parts:
            found += [
                f"{name}: {content[at.start() - 60 : at.end() + 20]!r}"
                for at in re.finditer(re.escape(part), content)
            ]
    return found


def hostile_pages(*sent: str) -> tuple[Reply, Reply]:
    """Return two pages; the link and the rejected record of the first repeat secrets."""
    good = [{"sku_id": f"SKU-{number}", **RECORD} for number in range(3)]
    bad = {"sku_id": "?", "url": repeated(*sent), "name": sent[0][:12], **RECORD}
    link = f"/second?access_token={percent_encode(sent[0], '')}&page=2"
    first = Reply(body=json.dumps({"data": [*good, bad], "next": link}).encode())
    return first, Reply(body=json.dumps({"data": good}).encode())


def hostile_source(url: str, directory: Path, kind: str) -> str:
    path = directory / f"{kind}.yaml"
    parts = {
        "name": f"acme-{kind}",
        "base_url": url,
        "request": {"path": "/first", "method": "POST", "body": {"key": "the secret"}},
        "records": {"path": "data"},
        "paging": {"style": "next_link", "next_path": "next", "limit_param": None, "stable": True},
        "auth": {
            name: value.replace("{url}", url) if name == "token_url" else value
            for name, value in KINDS[kind].items()
        },
        "pace": {"requests_per_second": 200},
    }
    path.write_text(yaml.safe_dump(parts))
    return str(path)


def hostile_engine(url: str, directory: Path, kind: str) -> str:
    path = directory / "slots.yaml"
    path.write_text(yaml.safe_dump({"name": f"slots-{kind}", "base_url": url}))
    return str(path)


def everything_in(directory: Path) -> str:
    """Return the content of all files below a directory, also those of databases."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return "\n".join(path.read_bytes().decode("latin-1") for path in files)

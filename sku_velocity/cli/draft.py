"""The command `draft`: a first spec of an API, from its answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.console import Console

from sku_velocity.cli.check_source import check
from sku_velocity.cli.executor import run
from sku_velocity.cli.terminal import DONE, NOT_DONE, errors
from sku_velocity.errors import ConfigurationError, VelocityError
from sku_velocity.model.run import NO_WAREHOUSE
from sku_velocity.source.client import SourceClient
from sku_velocity.source.draft import Drafter
from sku_velocity.source.spec import parse_spec
from sku_velocity.spec_errors import SECRETS
from sku_velocity.steps.access import FileSource, token_of
from sku_velocity.text import one_line

ORDER = ("name", "base_url", "request", "auth", "records", "paging", "total", "window", "fields")
HEADER = "header:"


def draft(
    *,
    url: str,
    token_env: str | None = None,
    auth: str | None = None,
    warehouse: str | None = None,
    name: str | None = None,
    output: Path | None = None,
) -> int:
    """Write a first spec of an API that is read by GET, and try it. What was not found is a comment in it.

    Exit code: 0, or 1 if the draft cannot be read with yet, 2 for bad usage or settings.

    Parameters
    ----------
    url
        The URL that returns movements, with its query: for a warehouse and a window with at least 6 of them.
    token_env
        The environment variable that holds the token.
    auth
        How the token is sent: bearer, basic, none, or header:NAME, such as header:X-API-Key. Omit for bearer
        or, without --token-env, none.
    warehouse
        The warehouse that the URL is about, as the API names it.
    name
        The source's name: lowercase letters, digits and dashes. Omit for one made from the URL.
    output
        The file to write, which must not exist. Omit for standard output.
    """
    if output is not None and output.exists():
        raise ConfigurationError(f"--output: {output} exists: name another file")
    address = _address_of(url)
    start = {
        "name": name or _name_of(address),
        "base_url": str(address.copy_with(raw_path=b"/")).rstrip("/"),
        "auth": _auth_of(auth or ("bearer" if token_env else "none")),
    }
    base = parse_spec(start, "draft")
    token = token_of(token_env)

    async def work() -> tuple[dict[str, Any], list[str], bool]:
        async with SourceClient.open(base, token) as client:
            drafter = Drafter(client, str(address.copy_with(query=None)), dict(address.params), warehouse)
            await drafter.draft()
        path = "/".join("{warehouse}" if part == warehouse else part for part in address.path.split("/"))
        found = {**start, **drafter.spec, "request": {"path": path, "params": drafter.request_params}}
        found = {key: found[key] for key in ORDER if key in found}
        source = FileSource(parse_spec(found, "the draft"), token)
        try:
            is_usable = await check(source, warehouse or NO_WAREHOUSE, drafter.window, errors)
        except VelocityError as error:
            return found, [f"reading with this draft failed: {one_line(str(error))}", *drafter.notes], False
        return found, drafter.notes, is_usable

    found, notes, is_usable = run(work())
    text = "".join(f"# - {note}\n" for note in notes)
    text = f"# A draft, of {address.copy_with(query=None)}. To check or to add:\n{text}" + yaml.safe_dump(
        found, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110
    )
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")
        Console().print(f"wrote {output}", markup=False, highlight=False)
    return DONE if is_usable else NOT_DONE


def _address_of(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"--url: {error}") from None
    if address.scheme not in ("http", "https") or not address.host:
        raise ConfigurationError("--url: it must start with https:// or http://")
    if address.userinfo or (secret := [each for each in address.params if each.lower() in SECRETS]):
        what = "a user or password" if address.userinfo else f"the secret {secret[0]}"
        raise ConfigurationError(f"--url contains {what}: remove it, and use --token-env and --auth")
    return address


def _auth_of(auth: str) -> dict[str, str]:
    if auth.startswith(HEADER):
        return {"kind": "header", "header": auth.removeprefix(HEADER)}
    return {"kind": auth}


def _name_of(address: httpx.URL) -> str:
    """Return a name from the host: wms.example.com becomes example."""
    labels = address.host.split(".")
    label = labels[-2] if len(labels) > 1 and not labels[-1].isdigit() else "draft"
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-") or "draft"

"""Commands to paste into a shell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sku_velocity.model.window import iso
from sku_velocity.store.database import holds_password
from sku_velocity.text import option_name


def command_line(command: str, options: Mapping[str, Any], **changes: Any) -> str:
    """Return a command with options by the names of their fields, quoted for a shell.

    `changes` replace options. One that is None, False or empty is omitted; a password is not shown.
    """
    words = command.split()
    for name, value in {**options, **changes}.items():
        for each in value if isinstance(value, list | tuple) else [value]:
            if each is True:
                words.append(f"--{option_name(name)}")
            elif each is not None and each is not False and each != "":
                words += [f"--{option_name(name)}", _text(name, each)]
    return shlex.join(words)


def _text(name: str, value: Any) -> str:
    if name == "store" and "://" in value and holds_password(value):
        return "STORE-URL"
    return iso(value) if isinstance(value, datetime) else str(value)

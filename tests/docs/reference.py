"""Writes docs/reference from the code: `make reference`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from cyclopts import App
from prefect.utilities.callables import parameter_schema
from sqlalchemy import Dialect, create_engine, inspect
from sqlalchemy.dialects import postgresql, sqlite

from flows.artifacts.events import PAYLOADS
from flows.cli import add_commands
from sku_velocity.cli.app import COMMANDS, make_app
from sku_velocity.output.schemas import MOVEMENTS, VELOCITY
from sku_velocity.store.tables import metadata
from sku_velocity.store.views import views
from tests.support.checkout import CHECKOUT

DIRECTORY = CHECKOUT / "docs" / "reference"
NOTE = "Written by `make reference` from the code; do not edit.\n"
# Each variable that ours reads, or that `prefect.yaml` and `prefect.toml` set for it.
VARIABLES = {
    "SKU_VELOCITY_STORE": "The store's URL, if `--store` is omitted. Without both: `sku-velocity.db` here.",
    "SKU_VELOCITY_ENGINE_TOKEN": "The slotting engine's token, if `--push` names a file.",
    "SKU_VELOCITY_PACE_RENEWAL": "Seconds between two renewals of a process's share of `pace.shared_limit`, "
    "each a transaction in the store: 0.2 to 5. Default: 1.",
    "the one named by `--token-env`": "The source's token.",
    "PREFECT_API_URL": "The Prefect server. Without it, `python -m flows` starts a temporary one for a run.",
    "PREFECT_API_AUTH_STRING": "User and password of a Prefect server that requires them.",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "Seconds between a run's heartbeats. `automations.yaml` needs 30, "
    "which `prefect.yaml` sets.",
    "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "`reschedule`: on SIGTERM a run returns to its pool "
    "and is resumed. `prefect.yaml` sets it.",
    "PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGPASSFILE": "What a store's URL leaves out.",
    "AWS_ACCESS_KEY_ID and others": "An object store's credentials, as its own tools read them.",
    "SSL_CERT_FILE, SSL_CERT_DIR": "Certificates that HTTPS connections trust instead of the system's.",
}


def table(head: str, rows: Iterator[tuple[object, ...]] | list[tuple[object, ...]]) -> str:
    """Return a table in Markdown; `head` is its columns, separated by a bar."""
    names = head.split("|")
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


KINDS = {"string": "text", "integer": "whole number", "object": "map", "boolean": "true or false"}


def code(value: object) -> str:
    return f"`{value}`"


def commands() -> str:
    shared = make_app("sku-velocity").generate_docs(output_format="markdown")
    with_prefect = App(name="python -m flows", help="The commands that need Prefect.")
    add_commands(with_prefect)
    text = shared + "\n" + with_prefect.generate_docs(output_format="markdown")
    text = re.sub(r"((?:sku-velocity|-m flows) [\w -]+?) -m [\w.]+", r"\1", text)  # how this was started
    text = text.replace("-m flows -m flows", "-m flows")
    return re.sub(r"^# ", "## ", re.sub(r"^## ", "### ", text, flags=re.MULTILINE), flags=re.MULTILINE)


def flow_parameters() -> str:
    parts = []
    for each in yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]:
        module, name = each["entrypoint"].replace("/", ".").split(".py:")
        flow = getattr(import_module(module), name)
        schema = parameter_schema(flow.fn).model_dump()
        rows = [
            (
                code(parameter),
                kind_of(part),
                "" if parameter in schema["required"] else shown(part.get("default")),
                part.get("description", ""),
            )
            for parameter, part in schema["properties"].items()
        ]
        parts.append(
            f"## {each['name']}\n\n{each['description']}\n\n" + table("parameter|type|default|meaning", rows)
        )
    return "A parameter without a default is required.\n\n" + "\n".join(parts)


def kind_of(part: dict[str, Any]) -> str:
    """Return the type that a JSON Schema describes."""
    if "const" in part:
        return shown(part["const"])
    if "enum" in part:
        return ", ".join(map(shown, part["enum"]))
    if "$ref" in part:
        return part["$ref"].rpartition("/")[2]
    if options := part.get("anyOf") or part.get("oneOf"):
        return " or ".join(dict.fromkeys(kind_of(each) for each in options if each.get("type") != "null"))
    kind = part.get("format", part.get("type", "any"))
    if kind == "array":
        return f"list of {kind_of(part.get('items', {}))}"
    return KINDS.get(kind, kind)


def shown(value: object) -> str:
    if value is None:
        return ""
    return code(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def spec_keys() -> str:
    parts = []
    for title, place in (("A source's file", "source"), ("An engine's file", "slotting")):
        name = "source" if place == "source" else "engine"
        schema = json.loads((files(f"sku_velocity.{place}") / f"{name}.schema.json").read_text())
        parts.append(f"## {title}\n\n" + table("key|type|default|meaning", list(keys_of(schema, schema, ""))))
    return "\n".join(parts)


def keys_of(part: dict[str, Any], whole: dict[str, Any], prefix: str) -> Iterator[tuple[object, ...]]:
    """Yield the keys of a part of a spec, with those below them."""
    for key, each in part.get("properties", {}).items():
        path = f"{prefix}{key}"
        default = each.get("default")
        yield (
            code(path),
            kind_of(each),
            "" if isinstance(default, dict) else shown(default),
            each.get("description", ""),
        )
        for below in (each, *each.get("anyOf", []), *each.get("oneOf", [])):
            name = below.get("$ref", "").rpartition("/")[2]
            if name and prefix.count(".") < 3:
                yield from keys_of(whole["$defs"][name], whole, f"{path}.")


def events() -> str:
    parts = []
    for each in PAYLOADS:
        fields = each.model_json_schema()["properties"].items()
        rows = [(code(name), kind_of(part), part["description"]) for name, part in fields]
        parts.append(f"## {code(each.EVENT)}\n\n{each.__doc__}\n\n" + table("field|type|meaning", rows))
    return "The payload of each event. [Events and notifications](../events.md) says how to use them.\n\n" + (
        "\n".join(parts)
    )


def tables() -> str:
    fields = [field for schema in (MOVEMENTS, VELOCITY) for field in schema]
    units = {each.name: each.metadata[b"unit"].decode() for each in fields if each.metadata}
    parts = [
        "Instants are `TIMESTAMPTZ` on PostgreSQL and microseconds since 1970 on SQLite, where views show "
        "them as text in UTC (`2026-03-01T08:30:00.000000+00:00`). Programs read the views; the tables may "
        "change with a version.\n",
    ]
    for each in sorted(metadata.tables.values(), key=lambda table: table.name):
        rows = [
            (
                code(column.name),
                column.type.compile(sqlite.dialect()),
                column.type.compile(postgresql_dialect()),
                "" if column.nullable else "not null",
                units.get(column.name, "") if each.name in ("movements", "sku_velocity") else "",
            )
            for column in each.columns
        ]
        parts.append(f"## Table {each.name}\n\n" + table("column|SQLite|PostgreSQL||unit", rows))
    return "\n".join([parts[0], *views_of(units), *parts[1:]])


def views_of(units: dict[str, str]) -> Iterator[str]:
    """Yield the section of each view, with the columns that SQLite tells of it."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        for statement in views("sqlite"):
            connection.exec_driver_sql(statement)
        found = inspect(connection)
        columns = {name: found.get_columns(name) for name in sorted(found.get_view_names())}
    engine.dispose()
    for name, each in columns.items():
        rows = [(code(column["name"]), units.get(column["name"], "")) for column in each]
        yield f"## View {name}\n\n" + table("column|unit", rows)


def postgresql_dialect() -> Dialect:
    return postgresql.dialect()  # type: ignore[no-untyped-call]


def exit_codes() -> str:
    rows = [(code(name), sentence_of(command.help)) for name, command in COMMANDS.items()]
    return (
        table("code|meaning", [
            (0, "done"),
            (1, "not done: what could be read was read, and nothing was published that is not proven"),
            (2, "a wrong setting or option: the same command fails again until it is changed"),
            (130, "stopped by Ctrl-C"), (143, "stopped by SIGTERM"),
        ]) + "\n" + table("command|exit code", [row for row in rows if row[1]])
    )  # fmt: skip


def sentence_of(help: str) -> str:
    found = re.search(r"(?:Exit code:|The exit code is) .*", " ".join(help.split()))
    return found[0].removeprefix("Exit code: ") if found else ""


def environment() -> str:
    return table(
        "variable|meaning", [(name if " " in name else code(name), text) for name, text in VARIABLES.items()]
    )


PAGES: dict[str, tuple[str, Callable[[], str]]] = {
    "commands": ("Commands", commands),
    "flow-parameters": ("Parameters of the flows", flow_parameters),
    "spec": ("Keys of a spec", spec_keys),
    "events": ("Events", events),
    "tables": ("Views and tables", tables),
    "exit-codes": ("Exit codes", exit_codes),
    "environment": ("Environment variables", environment),
}


def page(name: str) -> str:
    title, text = PAGES[name]
    return f"# {title}\n\n{NOTE}\n{text().strip()}\n"


def write(directory: Path = DIRECTORY) -> None:
    directory.mkdir(exist_ok=True)
    for name in PAGES:
        (directory / f"{name}.md").write_text(page(name))


if __name__ == "__main__":
    write()

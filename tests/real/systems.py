"""The real systems: how each is filled, started and described, and what its own database holds."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.real.movements import WAREHOUSE, iso, movements
from tests.real.reading import Content, Row
from tests.real.running import INSTALLED, REAL, python, run, server
from tests.support.ports import free_port

DJANGO = str(REAL / "programs" / "django_site.py")
OF_THE_SITE = {  # the filters that the site defines
    "request": {"params": {"warehouse": "{warehouse}"}},
    "window": {"params": {"start": "from", "end": "to"}},
}
TRYTON = str(REAL / "programs" / "fill_tryton.py")
PASSWORD = "for loopback only"
MOVES = """
    WITH RECURSIVE below(id) AS (
        SELECT :location UNION SELECT place.id FROM stock_location place JOIN below ON place.parent = below.id
    )
    SELECT move.id, product.code, :location, move.quantity * unit.factor / base.factor, move.effective_date
    FROM stock_move move
    JOIN product_product product ON product.id = move.product
    JOIN product_template template ON template.id = product.template
    JOIN product_uom unit ON unit.id = move.unit
    JOIN product_uom base ON base.id = template.default_uom
    JOIN stock_location target ON target.id = move.to_location
    WHERE move.state = 'done' AND target.type != 'lost_found'
    AND move.from_location IN below AND move.to_location NOT IN below
"""
ROWS = "SELECT {}, sku_id, warehouse_id, units_moved, timestamp_utc FROM {} WHERE warehouse_id = ?"


@dataclass(frozen=True)
class RealSystem:
    """A running system: what its user writes beside the preset, and the content of its own database."""

    own: dict[str, Any]
    truth: Callable[[], Content]
    warehouse: str = WAREHOUSE
    token: str | None = field(default=None, repr=False)


@contextmanager
def django(home: Path) -> Iterator[Mapping[str, RealSystem]]:
    """Run a Django REST Framework site with three styles of paging, and pages smaller than requested."""
    database, port = home / "site.db", free_port()
    token = run(python("web"), DJANGO, "fill", str(database))
    url = f"http://127.0.0.1:{port}"
    paths = {"drf": "offset", "drf-page-number": "page", "drf-cursor": "cursor"}
    command = [python("web"), DJANGO, "serve", str(database), str(port)]
    truth = partial(_from_sqlite, database, "site_movement")
    with server(command, url, home / "log"):
        yield {
            preset: RealSystem({"base_url": f"{url}/{path}"} | OF_THE_SITE, truth, token=token)
            for preset, path in paths.items()
        }


@contextmanager
def datasette(home: Path) -> Iterator[Mapping[str, RealSystem]]:
    """Run Datasette over a SQLite file."""
    database, port = home / "data.db", free_port()
    with closing(sqlite3.connect(database)) as connection, connection:
        columns = "id INTEGER PRIMARY KEY, sku_id, warehouse_id, units_moved INTEGER, timestamp_utc"
        connection.execute(f"CREATE TABLE movements ({columns})")
        rows = [(m.sku, m.warehouse, m.units, iso(m.at)) for m in movements()]
        connection.executemany("INSERT INTO movements VALUES (NULL, ?, ?, ?, ?)", rows)
    command = [python("web"), "-m", "datasette", str(database), "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with server(command, url, home / "log"):
        yield {"datasette": RealSystem({"base_url": url}, partial(_from_sqlite, database, "movements"))}


@contextmanager
def json_servers(home: Path) -> Iterator[Mapping[str, RealSystem]]:
    """Run json-server 0.17 and 1.x, each over a JSON file; ids of 1.x are texts."""
    programs = {"json-server": "json-server-0/lib/cli/bin.js", "json-server-1": "json-server-1/lib/bin.js"}
    with ExitStack() as stack:
        yield {
            preset: stack.enter_context(_json_server(home, preset, program))
            for preset, program in programs.items()
        }


@contextmanager
def _json_server(home: Path, preset: str, program: str) -> Iterator[RealSystem]:
    database, port = home / f"{preset}.json", free_port()
    as_id = int if preset == "json-server" else str
    rows = [
        {
            "id": as_id(number),
            "sku_id": m.sku,
            "warehouse_id": m.warehouse,
            "units_moved": m.units,
            "timestamp_utc": iso(m.at),
        }
        for number, m in enumerate(movements(), 1)
    ]
    database.write_text(json.dumps({"movements": rows}))
    script = str(INSTALLED / "node_modules" / program)
    command = ["node", script, "--host", "127.0.0.1", "--port", str(port), str(database)]
    url = f"http://127.0.0.1:{port}"
    with server(command, url, home / f"{preset}.log", cwd=home):
        yield RealSystem({"base_url": url}, partial(_from_json, database))


@contextmanager
def tryton(home: Path, preset: str, version: str, path: str) -> Iterator[Mapping[str, RealSystem]]:
    """Run a Tryton server over SQLite, filled through its own models; read its storage location."""
    database, configuration, port = home / "tryton.sqlite", home / "trytond.conf", free_port()
    database.touch()
    configuration.write_text(
        f"[database]\nuri = sqlite://\npath = {home}\n[web]\nlisten = 127.0.0.1:{port}\n"
    )
    (home / "password").write_text(PASSWORD)
    programs = Path(python(f"tryton-{version}")).parent
    create = [f"{programs}/trytond-admin", "--config", str(configuration), "--database", "tryton"]
    modules = ["--update", "stock", "--activate-dependencies", "--email", "admin@example.com"]
    run(*create, *modules, env={"TRYTONPASSFILE": str(home / "password")})
    location = run(f"{programs}/python", TRYTON, str(configuration))
    command = [f"{programs}/trytond", "--config", str(configuration), "--database", "tryton"]
    own = {
        "request": {"path": path},
        "auth": {"username": "admin"},
        "fields": {"warehouse_id": {"const": location}},
    }
    url = f"http://127.0.0.1:{port}"
    with server(command, url, home / "log"):
        truth = partial(_from_tryton, database, location)
        yield {preset: RealSystem({"base_url": url} | own, truth, location, PASSWORD)}


def _from_tryton(database: Path, location: str) -> Content:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(MOVES, {"location": int(location)}).fetchall()
    return Counter(
        Row(str(number), sku, str(place), round(units), instant(day))
        for number, sku, place, units, day in rows
    )


def _from_sqlite(database: Path, table: str) -> Content:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(ROWS.format("id", table), (WAREHOUSE,)).fetchall()
    return Counter(Row(str(row[0]), *row[1:4], instant(row[4])) for row in rows)


def _from_json(database: Path) -> Content:
    rows = [row for row in json.loads(database.read_text())["movements"] if row["warehouse_id"] == WAREHOUSE]
    names = ("sku_id", "warehouse_id", "units_moved")
    return Counter(
        Row(str(row["id"]), *(row[name] for name in names), instant(row["timestamp_utc"])) for row in rows
    )


def instant(text: str) -> datetime:
    """Parse a time as a database stores it: without a zone it is UTC."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


GROUPS: Mapping[str, Callable[[Path], Any]] = {
    "datasette": datasette,
    "drf": django,
    "drf-cursor": django,
    "drf-page-number": django,
    "json-server": json_servers,
    "json-server-1": json_servers,
    "tryton": partial(tryton, preset="tryton", version="7.0", path="/tryton/"),
    "tryton-8": partial(tryton, preset="tryton-8", version="8.2", path="/tryton/rpc/"),
}

"""SQL statements are constant and bind their values: no value is ever formatted into their text."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from sku_velocity.errors import StoreConfigurationError
from sku_velocity.model.chunk import Chunk, Page, PageResult
from sku_velocity.model.movement import DeadLetter, MovementRow, Reason
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import Window
from sku_velocity.store import Store
from tests.support.checkout import CHECKOUT

PACKAGES = ("sku_velocity", "flows", "blocks", "simulator", "benchmarks")
FILES = {
    file.relative_to(CHECKOUT).as_posix(): file.read_text()
    for package in PACKAGES
    for file in (CHECKOUT / package).rglob("*.py")
    if ".venv-peers" not in file.parts  # created by `make bench`, with third-party code
}
TAKES_TEXT = {"text", "exec_driver_sql", "executescript", "executemany", "literal_column", "DDL"}
TAKES_EITHER = {"execute", "scalar", "scalars", "stream"}  # a statement of SQLAlchemy's, or a driver's text

# (file, statement): why no value can get into it.
ALLOWED = {
    (
        "sku_velocity/store/page_rows.py",
        "statement",
    ): "the table and its columns are constants in this file",
    ("benchmarks/velocity.py", "statement"): "the columns are those of the table, named in this file",
    ("sku_velocity/store/schema.py", "view"): "the views are constants in views.py",
    ("sku_velocity/store/velocity.py", "_INSERT"): "the columns are those of the table in tables.py",
    (
        "sku_velocity/store/rollup_making.py",
        "_binary_search(bounds)",
    ): "calendar intervals: microseconds and indexes, which are integers",
    (
        "sku_velocity/store/database.py",
        "connection.get_execution_options().get('sqlite_begin', 'BEGIN')",
    ): "BEGIN or BEGIN IMMEDIATE, set by Database",
}


def statements(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield the functions called to run SQL, with their first argument."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in TAKES_TEXT | TAKES_EITHER:
                yield called, node.args[0]


def is_built(node: ast.expr, tree: ast.Module) -> bool:
    """Return True if a text is built from others, here or where its name is assigned."""
    match node:
        case ast.JoinedStr(values=values):
            return any(isinstance(value, ast.FormattedValue) for value in values)
        case ast.BinOp(op=ast.Add() | ast.Mod()):
            return True
        case ast.Call(func=ast.Attribute(attr="format" | "join" | "replace" | "format_map")):
            return True
        case ast.Name(id=name):
            return any(is_built(value, tree) for value in values_of(name, tree))
    return False


def is_constant(node: ast.expr, tree: ast.Module) -> bool:
    if isinstance(node, ast.Name):
        values = list(values_of(node.id, tree))
        return bool(values) and all(isinstance(value, ast.Constant) for value in values)
    return isinstance(node, ast.Constant)


def values_of(name: str, tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets, value=value):
                if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                    yield value
            case ast.AnnAssign(target=ast.Name(id=id_), value=ast.expr() as value) if id_ == name:
                yield value


def unbound(source: str, file: str) -> list[str]:
    tree = ast.parse(source)
    return [
        f"{file}:{given.lineno}: {called}({ast.unparse(given)})"
        for called, given in statements(tree)
        if (is_built(given, tree) or (called in TAKES_TEXT and not is_constant(given, tree)))
        and (file, ast.unparse(given)) not in ALLOWED
    ]


def test_no_statement_is_built_from_values() -> None:
    """Bind values instead; a text that needs table names inserted goes to ALLOWED, with its reason."""
    assert len(FILES) > 40
    assert [line for name, source in FILES.items() for line in unbound(source, name)] == []


def test_each_allowed_statement_still_exists() -> None:
    given = {
        (name, ast.unparse(given))
        for name, source in FILES.items()
        for _, given in statements(ast.parse(source))
    }
    assert ALLOWED.keys() <= given


@pytest.mark.parametrize(
    "line",
    [
        "c.execute(f'SELECT * FROM t WHERE id = {id}')",
        "c.execute('SELECT * FROM t WHERE id = ' + id)",
        "c.execute('SELECT * FROM t WHERE id = %s' % id)",
        "c.execute('SELECT * FROM t WHERE id = {}'.format(id))",
        "q = f'SELECT {id}'\nc.execute(q)",
        "c.execute(text(f'SELECT {id}'))",
        "c.exec_driver_sql(query)",
        "sa.text(query)",
    ],
)
def test_a_statement_that_is_built_is_found(line: str) -> None:
    assert unbound(line, "example.py")


@pytest.mark.parametrize(
    "line", ["c.execute('SELECT ?', [id])", "c.execute(select(t).where(t.c.id == id))", "text('SELECT :id')"]
)
def test_a_statement_whose_values_are_bound_passes(line: str) -> None:
    assert not unbound(line, "example.py")


HOSTILE = [
    "'; DROP TABLE movements; --",
    '" OR ""="',
    "a;b\\",
    "%s %(x)s ? :x $1",
    "ä\u202e\x1b[31m",
    "x" * 9999,
]


@pytest.mark.anyio
@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_ids_are_stored_unchanged(store_url: str, text: str) -> None:
    warehouse = text[:500]  # a published one is in an index
    run = SyncRun(text, text[:500], warehouse, Window.everything(), 2)
    letter = DeadLetter(1, text, (Reason(text, text),))
    row = MovementRow(0, text, "A-1", warehouse, 1, Window.everything().start)
    async with Store.open(store_url) as store:
        await store.runs.begin(run, [Chunk(0, 0, 2, 2)])
        result = PageResult(Page(0, 2), 2, [row], [letter], next_cursor=text, extra_fields={text: 1})
        progress = await store.chunks.land_page(text, 0, result)
        await store.publications.publish(text, "{}")
        found = await store.runs.find(text)
        assert found and (found.id, found.source, found.warehouse) == (text, text[:500], warehouse)
        assert await store.dead_letters.of(text) == [letter]
        assert await store.chunks.of(text) == [progress]


@pytest.mark.anyio
@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b"])
async def test_an_id_that_no_database_can_hold_is_refused_and_never_found(store_url: str, text: str) -> None:
    whole = Window.everything()
    async with Store.open(store_url) as store:
        for run in (SyncRun(text, "s", "w", whole, 1), SyncRun("r", "s", text, whole, 1)):
            with pytest.raises(StoreConfigurationError, match="no store can hold"):
                await store.runs.begin(run, [Chunk(0, 0, 1, 1)])
        assert await store.runs.find(text) is None and await store.chunks.of(text) == []

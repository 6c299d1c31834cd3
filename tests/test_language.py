"""The language of user-facing text: the field's terms, and none of the words listed here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.support.checkout import CHECKOUT

# Avoid: use instead
WORDS = {
    r"mend(s|ed|ing)?": "fix",
    r"told|tells?": "report, say, value",
    r"stands|stood": "is, is stored, exists",
    r"(goes|go|gone|went) on": "resume, continue",
    r"anew": "again",
    r"lets? go( of)?": "delete",
    r"shows": "is published",
    r"(is|are|was) not well": "is temporarily unavailable",
    r"last words": "shutdown",
    r"where": "if, when",
    r"whoever|whatever": "the user who, any",
    r"held (to|against)": "validated against, checked against",
    r"(comes|came|come) to": "become, yield",
    r"so many": "at most N",
    r"alone": "only",
    r"other side": "the source or the store",
    r"how patiently": "retry policy",
    r"see that": "check that",
}
FORBIDDEN = re.compile(rf"\b({'|'.join(WORDS)})\b", re.IGNORECASE)
# A text that may hold such a word: why.
ALLOWED: dict[str, str] = {}
REQUESTS = Path("sku_velocity/steps/requests.py")  # the help of options and forms
LOG_CALLS = {"debug", "info", "warning", "error", "exception", "critical"}
TREES = {
    path.relative_to(CHECKOUT): ast.parse(path.read_text())
    for top in ("sku_velocity", "flows", "blocks")
    for path in sorted((CHECKOUT / top).rglob("*.py"))
}


def strings_in(*nodes: ast.AST) -> Iterator[str]:
    """Yield the string constants below some nodes, including the parts of f-strings."""
    for node in (below for top in nodes for below in ast.walk(top)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def name_of(node: ast.AST) -> str:
    """Return the last name of an expression: `command` of `@app.command(name="x")`."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


CALLS = [node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.Call)]
COMMANDS = {name_of(call.args[0]) for call in CALLS if name_of(call) == "command" and call.args}


def texts_of(tree: ast.AST) -> Iterator[str]:
    """Yield the user-facing text of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield from strings_in(*node.exc.args)
        elif isinstance(node, ast.Call):
            yield from strings_in(
                *(each.value for each in node.keywords if each.arg in ("help", "description"))
            )
            if name_of(node) == "Command":
                yield from strings_in(*node.args[1:])
            if name_of(node) in LOG_CALLS:
                yield from strings_in(*node.args)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = {name_of(each) for each in node.decorator_list}
            if decorators & {"flow", "command", "default"} or node.name in COMMANDS:
                yield ast.get_docstring(node) or ""


def test_user_facing_text_holds_none_of_the_words_to_avoid() -> None:
    texts = [(str(path), text) for path, tree in TREES.items() for text in texts_of(tree)]
    texts += [(str(REQUESTS), text) for text in strings_in(TREES[REQUESTS])]
    deployments = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
    texts += [("prefect.yaml", each["description"]) for each in deployments]
    assert len(texts) > 300
    found = [(path, match[0], text) for path, text in texts for match in FORBIDDEN.finditer(text)]
    assert [each for each in found if not any(allowed in each[2] for allowed in ALLOWED)] == []
    assert [each for each in ALLOWED if not any(each in text for _, _, text in found)] == []

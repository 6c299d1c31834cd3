"""The import rule of CONTRIBUTING.md: values below, effects side by side, verbs on top; no cycles."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter

from tests.support.checkout import CHECKOUT

PRODUCT = ("sku_velocity", "blocks", "flows", "simulator", "demo")
BASE = {"errors", "masking", "text", "process", "spec_errors", "spec_file"}
MAY_IMPORT = {
    "masking": set[str](),
    "errors": {"masking"},
    "text": {"masking"},
    "spec_file": {"errors", "text"},
    "spec_errors": {"spec_file", "text"},
    "process": set[str](),
    "output": {"model"},
    "model": {"errors", "masking", "text", "process"},
    "completeness": {"model"},
    "http": BASE | {"model"},
    "store": BASE | {"model"},
    "velocity": BASE | {"model", "output", "store"},
    "source": BASE | {"model", "http"},
    "slotting": BASE | {"model", "http"},
    "steps": BASE | {"model", "output", "http", "store", "velocity", "source", "slotting", "completeness"},
    "cli": BASE | {"model", "http", "store", "velocity", "source", "slotting", "completeness", "steps"},
    "__main__": {"cli"},
    "api": {"model", "source", "steps"},
}
PATHS = [path for top in PRODUCT for path in (CHECKOUT / top).rglob("*.py")]
MODULES = {
    ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PATHS
}


def imports_of(module: str) -> Iterator[str]:
    """The modules that a module imports, `__future__` and what only type checkers see included."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module


IMPORTS = {module: set(imports_of(module)) for module in MODULES}


def test_each_package_imports_only_what_the_rule_allows() -> None:
    found = {
        (module, imported)
        for module, names in IMPORTS.items()
        for imported in names
        if module.startswith("sku_velocity.") and imported.startswith("sku_velocity.")
        and imported.split(".")[1] not in MAY_IMPORT[module.split(".")[1]] | {module.split(".")[1]}
    }  # fmt: skip
    assert found == set()


def test_only_blocks_and_flows_import_prefect_and_nothing_below_imports_them() -> None:
    for module, names in IMPORTS.items():
        if module.split(".")[0] in ("sku_velocity", "simulator"):
            assert not {name for name in names if name.split(".")[0] in ("prefect", "flows", "blocks")}, (
                module
            )
        if module.split(".")[0] == "blocks":
            assert not {name for name in names if name.startswith("flows")}, module


def test_nothing_imports_the_commands_but_flows() -> None:
    importers = {
        module
        for module, names in IMPORTS.items()
        if any(name.startswith("sku_velocity.cli") for name in names)
    }
    below = {each for each in importers if not each.startswith(("sku_velocity.cli", "flows"))}
    assert below == {"sku_velocity.__main__"}


def test_no_files_and_no_packages_import_each_other_in_a_circle() -> None:
    files = {module: names & MODULES.keys() - {module} for module, names in IMPORTS.items()}
    TopologicalSorter(files).prepare()
    packages: dict[str, set[str]] = {}
    for module, names in files.items():
        package = packages.setdefault(package_of(module), set())
        package |= {package_of(name) for name in names} - {package_of(module)}
    TopologicalSorter(packages).prepare()


def package_of(module: str) -> str:
    """The package of a module; a module directly below its top level stands for itself."""
    return module if len(module.split(".")) == 2 else ".".join(module.split(".")[:2])


def test_tests_of_the_core_run_without_prefect() -> None:
    core = [
        f"tests/{name}"
        for name in ("model", "source", "http", "store", "steps", "velocity", "slotting", "cli")
    ]
    program = "import sys, pytest; sys.modules['prefect'] = None; sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "--collect-only", "-q", "-p", "no:cacheprovider", *core]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]

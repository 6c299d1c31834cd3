"""Every command runs where Prefect cannot be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from sku_velocity.cli.app import COMMANDS
from sku_velocity.cli.dead_letters import app as dead_letters
from sku_velocity.cli.executor import Executor
from tests.support.acme import TOKEN, WHOLE, spec_file
from tests.support.days import WINDOWED
from tests.support.erp import wms_and_erp
from tests.support.no_prefect import IMPORTS, forbid_prefect
from tests.support.operations import sync

DAY = ["--start", "2026-03-01T00:00:00Z", "--end", "2026-03-02T00:00:00Z"]
SOURCE = ["--source", "acme.yaml"]
READING = [*SOURCE, "--token-env", "WMS_TOKEN", "--warehouse", "WH-01"]
RUNS = {
    "--help": ["--help"],
    "--version": ["--version"],
    "sync": ["sync", *READING, *DAY, "--max-reject-ratio", "1", "--velocity-zone", "UTC"],
    "sync --export-to": ["sync", *READING, *DAY, "--max-reject-ratio", "1", "--export-to", "exported"],
    "sync --help": ["sync", "--help"],
    "draft": ["draft", "--url", "URL", "--token-env", "WMS_TOKEN", "--warehouse", "WH-01"],
    "check-source": ["check-source", *READING, *DAY],
    "backfill": ["backfill", *READING, *DAY, "--window-minutes", "1440", "--max-reject-ratio", "1"],
    "backfill --dry-run": ["backfill", *READING, *DAY, "--dry-run"],
    "recheck": ["recheck", *SOURCE, "--token-env", "WMS_TOKEN", "--full", "--max-reject-ratio", "1"],
    "replay": ["replay", *SOURCE],
    "dead-letters list": ["dead-letters", "list"],
    "dead-letters show": ["dead-letters", "show", "RUN", "POSITION"],
    "dead-letters export": ["dead-letters", "export", "--format", "jsonl"],
    "dead-letters redact": ["dead-letters", "redact", "--run", "RUN", "--path", "user.name"],
    "dead-letters discard": ["dead-letters", "discard", "--run", "RUN", "--note", "a test"],
    "status": ["status", *SOURCE],
    "sync-master": ["sync-master", "--source", "erp.yaml", "--token-env", "WMS_TOKEN"],
    "refresh-velocity": ["refresh-velocity", "--as-of", "2026-03-07"],
    "compact": ["compact", "--export-to", "exported"],
    "prune": ["prune"],
    "presets": ["presets"],
    "schema": ["schema"],
    "migrate": ["migrate"],
}


@dataclass(frozen=True)
class Place:
    """A directory with the specs of a WMS and an ERP, and a store that holds a week of movements."""

    directory: Path
    run: str
    position: int
    url: str

    @property
    def log(self) -> Path:
        return self.directory / IMPORTS

    def start(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Start Python in a process in which an import of Prefect fails and is logged."""
        known = {"RUN": self.run, "POSITION": str(self.position), "URL": self.url}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        environment |= {
            "PYTHONPATH": str(self.directory),
            "WMS_TOKEN": TOKEN,
            "SKU_VELOCITY_STORE": f"sqlite:///{self.directory}/store.db",
        }
        command = [sys.executable, *(known.get(word, word) for word in words)]
        return subprocess.run(
            command, cwd=self.directory, env=environment, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("without-prefect")
    with wms_and_erp(directory, bad_ratio=0.02) as (server, _, _), pytest.MonkeyPatch.context() as patch:
        source = spec_file(server, directory, **WINDOWED)
        patch.setenv("WMS_TOKEN", TOKEN)
        week = {**WHOLE, "max_reject_ratio": 1, "export_to": str(directory / "exported")}
        _, report = sync(Executor(), source, f"sqlite:///{directory}/store.db", **week)
        place = Place(
            directory,
            report.run_id,
            server.ground_truth("WH-01").bad_positions[0],
            f"{server.url}/movements?warehouse=WH-01",
        )
        forbid_prefect(directory)
        yield place


@pytest.mark.parametrize("words", RUNS.values(), ids=RUNS)
def test_a_command_runs_without_prefect(place: Place, words: Sequence[str]) -> None:
    done = place.start("-m", "sku_velocity", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout and not place.log.exists()


def test_each_command_is_run() -> None:
    letters = {f"dead-letters {name}" for name in dead_letters if not name.startswith("-")}
    assert len(letters) == 5 and RUNS.keys() >= (COMMANDS.keys() - {"dead-letters"}) | letters


def test_prefect_cannot_be_imported_in_these_processes(place: Place) -> None:
    assert "must not be imported" in place.start("-c", "import prefect.flows").stderr
    assert place.log.read_text() == "prefect\n"
    place.log.unlink()

"""The main job on one machine: a WMS, a Prefect server, a worker, two warehouses, one Retry, velocity."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TypeVar

import httpx
from rich.console import Console
from rich.table import Table

from demo.prefect_client import prefect_client

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".demo"
RECORDS = 50_000
SYNC, REFRESH = "sku-velocity-sync/sync-velocity", "sku-velocity-refresh/refresh-velocity"  # deployments
CEILING = 50  # requests/s that the simulated WMS allows
PAGE = 1000  # records per page; one of them was in the page before
FAILING_OFFSET = 12 * (PAGE - 1) - 1
SPEC = """\
name: demo-wms
base_url: {url}
request: {{path: /movements, params: {{warehouse: "{{warehouse}}"}}}}
paging: {{page_size: {page}, pages_per_chunk: 1}}
records: {{path: records}}
total: {{from: body, path: total}}
order: {{stable: true}}
pace: {{requests_per_second: {ceiling}}}
fields: {{movement_id: movement_id}}
window: {{params: {{start: start, end: end}}}}
"""
ENGINE = """\
name: slots
base_url: {url}
pace: {{requests_per_second: 50}}
"""
WEEK = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-08T00:00:00Z"}

console = Console(highlight=False)


class DemoError(Exception):
    """The demo cannot continue; the message says why and where to look."""


def main() -> int:
    """Run the demo; with `--keep`, leave it running until Ctrl-C. Return the exit code."""
    shutil.rmtree(STATE, ignore_errors=True)
    (STATE / "logs").mkdir(parents=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as processes:
            Demo(processes).run(keep="--keep" in sys.argv[1:])
    except DemoError as error:
        console.print(f"demo: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("stopped")
    return 0


class Demo:
    """The parts of the demo, each a separate process in `processes`, with its log in .demo/logs."""

    def __init__(self, processes: ExitStack) -> None:
        self._processes = processes
        port = _free_port()
        self._ui = f"http://127.0.0.1:{port}"
        self._port = port
        self._api = prefect_client(f"{self._ui}/api")
        processes.callback(self._api.close)
        self._environment = _clean_environment() | {
            "PREFECT_API_URL": f"{self._ui}/api",
            "PREFECT_HOME": str(STATE / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "2",  # the default of 10 s would keep viewers waiting
            "SKU_VELOCITY_STORE": f"sqlite:///{STATE / 'velocity.db'}",
            "WMS_TOKEN": "demo-token",
            "ENGINE_TOKEN": "demo-engine-token",
        }

    def run(self, *, keep: bool) -> None:
        """Run the whole demo, from an empty directory to the classes of two warehouses' SKUs."""
        with console.status("starting a simulated WMS, a slotting engine and a Prefect server"):
            wms, engine = self._start_wms(), self._start_engine()
            self._start_server()
        with console.status("registering blocks, deploying, starting a worker"):
            self._deploy(wms, engine)
        console.print(f"Prefect UI: {self._ui}")
        with console.status("two warehouses of 50,000 records, 1% of them bad, and one page that fails"):
            runs = {name: self._start_sync(name) for name in ("WH-01", "WH-02")}
            first = {name: self._wait_for(run) for name, run in runs.items()}
        before = self._pages(wms)
        self._show("First run", first)
        _expect(first["WH-01"]["state_name"] == "Incomplete", "WH-01 should have failed at one page")
        _expect(first["WH-02"]["state_name"] == "Complete", "WH-02 should have been published")
        with console.status("fixing the WMS, then pressing Retry"):
            httpx.post(f"{wms}/_control/clear").raise_for_status()
            self._retry(runs["WH-01"])
            second = {"WH-01": self._wait_for(runs["WH-01"], run_count=2)}
        read_again = self._pages(wms) - before
        self._show("After the Retry", second)
        _expect(second["WH-01"]["state_name"] == "Complete", "WH-01 should have been published")
        _expect(read_again == 1, f"the Retry should have read one page, not {read_again}")
        console.print(f"The Retry read {read_again} of 51 pages: the one that had failed.")
        self._show_published()
        with console.status("computing velocity and pushing the classes to the slotting engine"):
            refresh = {"as_of": "2026-03-07", "reports": str(STATE / "reports"), "push": "slots"}
            runs["velocity"] = self._start_run(REFRESH, refresh)
            refreshed = self._wait_for(runs["velocity"])
        _expect(refreshed["state_type"] == "COMPLETED", "velocity should have been computed")
        self._show_velocity(engine)
        if keep:
            self._keep(runs)

    def _start_engine(self) -> str:
        command = ["-m", "simulator", "engine", "--token", self._environment["ENGINE_TOKEN"]]
        return self._read_url("engine", [*command, "--reject-ratio", "0.0005"])

    def _start_wms(self) -> str:
        command = ["-m", "simulator", "--port", "0", "--records", str(RECORDS), "--bad-ratio", "0.01"]
        command += ["--warehouse", "WH-01", "--warehouse", "WH-02"]
        command += ["--token", self._environment["WMS_TOKEN"], "--latency-ms", "20"]
        command += ["--requests-per-second", str(CEILING), "--fault", f"500@WH-01/{FAILING_OFFSET}"]
        return self._read_url("wms", command)

    def _read_url(self, name: str, command: list[str]) -> str:
        """Start a simulator and return its address, from its first line of output."""
        process = self._spawn(name, [sys.executable, *command], stdout=subprocess.PIPE)
        assert process.stdout is not None
        line = process.stdout.readline()
        _expect(bool(line), f"the simulator did not start: see .demo/logs/{name}.log")
        url: str = json.loads(line)["url"]
        return url

    def _start_server(self) -> None:
        self._spawn(
            "server", [*_prefect("server", "start", "--host", "127.0.0.1"), "--port", str(self._port)]
        )

        def healthy() -> bool:
            try:
                return self._api.get("/health").is_success
            except httpx.TransportError:
                return False

        _until(healthy, 180, "the Prefect server did not start: see .demo/logs/server.log")

    def _deploy(self, wms: str, engine: str) -> None:
        spec, slots = STATE / "demo-wms.yaml", STATE / "slots.yaml"
        spec.write_text(SPEC.format(url=wms, ceiling=CEILING, page=PAGE))
        slots.write_text(ENGINE.format(url=engine))
        flows = [sys.executable, "-m", "flows"]
        self._do(_prefect("block", "register", "-m", "blocks"))
        self._do([*flows, "save-source", "wms", "--spec", str(spec), "--token-env", "WMS_TOKEN"])
        self._do([*flows, "save-engine", "slots", "--spec", str(slots), "--token-env", "ENGINE_TOKEN"])
        self._do([*flows, "save-store", "velocity"])
        self._do(_prefect("work-pool", "create", "sku-velocity", "--type", "process"))
        self._do(_prefect("--no-prompt", "deploy", "--all"))
        self._spawn("worker", _prefect("worker", "start", "--pool", "sku-velocity", "--type", "process"))

    def _deployment(self, name: str) -> str:
        identifier: str = self._get(f"/deployments/name/{name}")["id"]
        return identifier

    def _start_sync(self, warehouse: str) -> str:
        return self._start_run(SYNC, {"warehouse": warehouse, "task_retries": 0, "push": "slots", **WEEK})

    def _start_run(self, deployment: str, parameters: dict[str, Any]) -> str:
        path = f"/deployments/{self._deployment(deployment)}/create_flow_run"
        response = self._api.post(path, json={"parameters": parameters, "state": {"type": "SCHEDULED"}})
        run: str = response.raise_for_status().json()["id"]
        return run

    def _wait_for(self, run: str, run_count: int = 1) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            found = self._get(f"/flow_runs/{run}")
            final = found["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
            return found if final and found["run_count"] >= run_count else None

        return _until(ended, 240, f"flow run {run} did not end: see .demo/logs/worker.log")

    def _retry(self, run: str) -> None:
        """Make the API call of the UI's Retry button."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
        response = self._api.post(f"/flow_runs/{run}/set_state", json={"state": state, "force": True})
        response.raise_for_status()

    def _show(self, title: str, runs: dict[str, dict[str, Any]]) -> None:
        table = Table(title=title, title_justify="left")
        for column in ("warehouse", "state", "message"):
            table.add_column(column, overflow="fold")
        for warehouse, run in runs.items():
            table.add_row(warehouse, run["state_name"], run["state"]["message"].partition(". ")[0])
        console.print(table)

    def _show_published(self) -> None:
        query = (
            "SELECT warehouse_id, count(*), sum(units_moved), count(DISTINCT sku_id) "
            "FROM published_movements GROUP BY 1 ORDER BY 1"
        )
        table = Table(title="published_movements in .demo/velocity.db", title_justify="left")
        for column in ("warehouse", "movements", "units", "SKUs"):
            table.add_column(column, justify="right")
        with closing(sqlite3.connect(STATE / "velocity.db")) as connection:
            for warehouse, *numbers in connection.execute(query):
                table.add_row(warehouse, *(f"{number:,}" for number in numbers))
        console.print(table)

    def _show_velocity(self, engine: str) -> None:
        query = (
            "SELECT warehouse_id, abc_lines, count(*), sum(lines_91), sum(units_91) FROM current_velocity "
            "GROUP BY 1, 2 ORDER BY 1, 2"
        )
        table = Table(title="current_velocity: the classes of its SKUs", title_justify="left")
        for column in ("warehouse", "class", "SKUs", "lines", "units"):
            table.add_column(column, justify="right")
        with closing(sqlite3.connect(STATE / "velocity.db")) as connection:
            for warehouse, name, *numbers in connection.execute(query):
                table.add_row(warehouse, name, *(f"{number:,}" for number in numbers))
        console.print(table)
        headers = {"Authorization": f"Bearer {self._environment['ENGINE_TOKEN']}"}
        stats = httpx.get(f"{engine}/stats", headers=headers).raise_for_status().json()
        movements, classes = stats["movements"], stats["classes"]
        _expect(not movements["more_than_once"], "the engine should have accepted each movement once")
        console.print(
            f"The slotting engine accepted {movements['accepted']:,} movements, each once, rejected "
            f"{movements['rejected']}, and has the classes of {classes['accepted']:,} SKUs."
        )
        for warehouse in ("WH-01", "WH-02"):
            report = STATE / "reports" / f"velocity.demo-wms.{warehouse}.html"
            _expect(report.is_file(), f"there should be a report {report}")
            console.print(f"Report with pictures: {report.relative_to(ROOT)}")

    def _keep(self, runs: dict[str, str]) -> None:
        console.print("Running until Ctrl-C. The runs:")
        for name, run in runs.items():
            console.print(f"  {name}: {page_of_run(self._ui, run)}", soft_wrap=True)
        signal.pause()

    def _pages(self, wms: str) -> int:
        """Return the number of full pages that the WMS has served so far; probes do not count."""
        stats = httpx.get(f"{wms}/stats").raise_for_status().json()
        # The final check starts at the last record.
        return sum(
            page["count"] for page in stats["pages"] if page["limit"] == PAGE and page["offset"] < RECORDS - 1
        )

    def _get(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self._api.get(path).raise_for_status().json()
        return found

    def _spawn(self, name: str, command: list[str], stdout: int | None = None) -> subprocess.Popen[bytes]:
        """Start a process that ends with the demo: by SIGTERM, and after 20 s by SIGKILL."""
        log = self._processes.enter_context((STATE / "logs" / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._environment,
            stdout=stdout or log,
            stderr=log,
            start_new_session=True,  # only the demo itself handles Ctrl-C
        )
        self._processes.callback(_end, process)
        return process

    def _do(self, command: list[str]) -> None:
        done = subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True, text=True)
        _expect(done.returncode == 0, f"{' '.join(command[1:])} failed:\n{done.stdout}{done.stderr}")


def page_of_run(ui: str, run: str) -> str:
    """Return the address of a flow run's page, in the default version of the UI of the server at `ui`."""
    settings = httpx.get(f"{ui}/ui-settings").raise_for_status().json()
    base: str = settings[f"{settings['default_ui']}_base_url"]
    return f"{ui}{base.rstrip('/')}/runs/flow-run/{run}"


def _prefect(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "prefect", *arguments]


def _clean_environment() -> dict[str, str]:
    """Return this process's environment without its Prefect settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _until(find: Callable[[], T | None], seconds: float, otherwise: str) -> T:
    """Call `find` twice a second and return its first result that is not empty."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := find():
            return found
        time.sleep(0.5)
    raise DemoError(otherwise)


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DemoError(otherwise)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and the children it started."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.stdout:
        process.stdout.close()


if __name__ == "__main__":
    sys.exit(main())

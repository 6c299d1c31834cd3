"""The command `init`: from a source's spec to scheduled deployments on a Prefect server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from pydantic import SecretStr
from rich.console import Console
from rich.prompt import Confirm

from blocks.slotting import find_engine
from blocks.store import VelocityStore
from blocks.stored import load_token
from blocks.wms import WmsSource, find_source
from flows.init.answers import Options, Questions, answer, answer_store, answer_token
from flows.init.deployments import team_file
from flows.init.plan import Planner, Step, Wanted, apply
from sku_velocity.cli.check_source import check
from sku_velocity.cli.executor import current
from sku_velocity.cli.terminal import DONE, FLAT, NOT_DONE
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.run import NO_WAREHOUSE
from sku_velocity.model.window import Window
from sku_velocity.source.warehouses import list_warehouses
from sku_velocity.steps.access import token_of
from sku_velocity.steps.window_choice import Bounds, WindowChoice

CHECKED = timedelta(days=7)  # long enough to have records; only two pages of it are read
PACKAGES = ("flows", "blocks", "sku_velocity")

OMITTED = Options()

console = Console(highlight=False, soft_wrap=True)


def say(line: str) -> None:
    console.print(line, markup=False)


def init(*, options: Annotated[Options, FLAT] = OMITTED) -> int:
    """Deploy a source on a Prefect server: blocks, work pool, automation, a prefect.yaml, deployments.

    On a terminal, it asks for what is omitted, and before it changes anything. First, it reads two pages of
    the source and opens the store. What exists as wanted is left unchanged, so after a failure the same
    command continues.

    Exit code: 0, or 1 if a step failed, 2 for bad usage or settings, or if something of the same name is not
    of init.
    """
    current().show_log(False)
    return DONE if current().run(_init(options)) else NOT_DONE


async def _init(options: Options) -> bool:
    if not PREFECT_API_URL.value():
        raise ConfigurationError(
            "PREFECT_API_URL is not set: start a server with `prefect server start`, and set it to the "
            "server's address, such as http://127.0.0.1:4200/api"
        )
    _check_directory(options.directory)
    questions = Questions()
    wanted, warehouses = await _wanted(options, questions)
    if not options.no_check:
        await _check(wanted.source, warehouses)
    options.directory.mkdir(parents=True, exist_ok=True)
    async with wanted.store.get_store():
        pass  # an unusable one is reported before anything refers to it
    async with get_client() as api:
        planner = Planner(api, wanted, say)
        steps = await planner.plan()
        if not _agree(steps, questions):
            return False
        await apply(steps, say)
    say(f"Start a worker: prefect worker start --pool {wanted.work_pool}")
    return True


def _agree(steps: list[Step], questions: Questions) -> bool:
    """Print the plan. Return True if it is empty, or if it may be carried out."""
    for line in (line for step in steps for line in step.lines()):
        say(line)
    if not any(step.differences for step in steps):
        say("Nothing to change.")
        return True
    return not questions.is_terminal or Confirm.ask("Continue?", console=console, default=True)


async def _wanted(options: Options, questions: Questions) -> tuple[Wanted, Sequence[str]]:
    """Return what is to exist, and the warehouses that were named. Raises ConfigurationError."""
    path = questions.answer(options.source, "--source", "Path of the source's spec file", None, Path)
    url = answer_store(options, questions)
    if path is None:
        questions.check()
    source = await find_source(str(path))
    token_env, token_secret = answer_token(options, source.spec, questions)
    engine = await find_engine(str(options.push)) if options.push else None
    answers = answer(options, source.spec, engine.spec.name if engine else None, questions)
    await load_token(None, token_secret)  # an unknown one is reported now
    token = {"token": token_of(token_env), "token_secret": token_secret}
    wanted = Wanted(
        source=source.model_copy(update=token),
        store=VelocityStore(url=SecretStr(url or "")),
        store_name=answers.store,
        engine=engine,
        work_pool=answers.work_pool,
        directory=options.directory.absolute(),
        text=team_file(answers),
        force=options.force,
    )
    return wanted, answers.warehouses


def _check_directory(directory: Path) -> None:
    """Raise ConfigurationError if the modules of this project would not be found from a directory."""
    if hidden := [name for name in PACKAGES if (directory / name).exists()]:
        raise ConfigurationError(
            f"--directory: {directory.absolute()} contains {hidden[0]}, which Prefect would import instead "
            "of this project's package: give a directory without it"
        )


async def _check(source: WmsSource, warehouses: Sequence[str]) -> None:
    """Read two pages of the source. Raises ConfigurationError if nothing would load."""
    names = list(warehouses)
    if source.spec.items is not None:
        names = [NO_WAREHOUSE]
    elif not names:
        async with source.get_client() as client:
            names = await list_warehouses(client)
    choice = WindowChoice(source.spec, Bounds(), datetime.now(UTC), "python -m flows check-source", {})
    window = choice.window()
    if not window.is_everything:
        window = Window(choice.grid.floor(window.end - CHECKED), window.end)
    if not await check(source, names[0], window, console):
        raise ConfigurationError(
            f"source {source.spec.name}: no record of the last days would load, or its paging is wrong: see "
            "above, and fix the spec, or skip this check with --no-check"
        )

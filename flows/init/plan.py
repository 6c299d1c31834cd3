"""What a Prefect server and a team's directory lack of a deployment: found first, then done step by step.

Each step compares what exists with what is wanted, so that a repeated run does only the rest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.utilities.callables import parameter_schema
from pydantic import SecretStr

from blocks.slotting import SlottingEngine
from blocks.store import VelocityStore
from blocks.wms import WmsSource
from flows.init.deployments import AUTOMATION, FILE, deployments_in, difference, flow_of, is_by_hand
from flows.runtime.ownership import TAG
from sku_velocity.errors import ConfigurationError, VelocityError
from sku_velocity.store.database import parse_url
from sku_velocity.text import one_line

B = TypeVar("B", bound=Block)

NEW = "new"
BLOCK_TYPES = (WmsSource, VelocityStore, SlottingEngine)
HIDDEN = ("parameter form", "description")  # too long to print


@dataclass(frozen=True)
class Step:
    """Something that is wanted: its name, how what exists differs, and what makes it so.

    Without differences, there is nothing to do.
    """

    name: str
    differences: Sequence[str]
    apply: Callable[[], Awaitable[object]]

    def lines(self) -> Iterator[str]:
        """Yield what the step would do, to print."""
        if len(self.differences) > 1:
            yield f"{self.name}:"
            yield from (f"  {each}" for each in self.differences)
        else:
            yield f"{self.name}: {next(iter(self.differences), 'unchanged')}"


@dataclass(frozen=True)
class Wanted:
    """What is to exist: the blocks by name, the work pool, and the team's file with its deployments."""

    source: WmsSource
    store: VelocityStore
    store_name: str
    engine: SlottingEngine | None
    work_pool: str
    directory: Path
    text: str
    force: bool = False


class Planner:
    """Compares a Prefect server and a directory with what is wanted.

    Raises ConfigurationError for what has the name of something wanted and belongs to someone else.
    """

    def __init__(self, api: PrefectClient, wanted: Wanted, say: Callable[[str], object]) -> None:
        self._api = api
        self._wanted = wanted
        self._say = say
        self._path = wanted.directory / FILE

    async def plan(self) -> list[Step]:
        """Return the steps in their order. Nothing is changed."""
        wanted = self._wanted
        steps = [await self._block_types(), await self._source(), await self._store()]
        if wanted.engine:
            steps.append(await self._block(wanted.engine, wanted.engine.spec.name, _spec_differences))
        return [
            *steps,
            await self._work_pool(),
            await self._automation(),
            *await self._dropped(),  # while the old file still names them
            self._file(),
            await self._deployments(),
        ]

    async def _block_types(self) -> Step:
        missing = []
        for kind in BLOCK_TYPES:
            try:
                await self._api.read_block_type_by_slug(kind.get_block_type_slug())
            except ObjectNotFound:
                missing.append(f"{NEW} {kind.get_block_type_slug()}")

        async def register() -> None:
            for kind in BLOCK_TYPES:
                await kind.register_type_and_schema()

        return Step("block types", missing, register)

    async def _source(self) -> Step:
        return await self._block(self._wanted.source, self._wanted.source.spec.name, _spec_differences)

    async def _store(self) -> Step:
        name, url = self._wanted.store_name, self._wanted.store.url

        def differences(found: VelocityStore, new: VelocityStore) -> list[str]:
            if _database(found.url) != _database(new.url):
                raise ConfigurationError(
                    f"block velocity-store/{name}: it is another store, {_database(found.url)}. Deploy "
                    f"beside it with --suffix, or replace it with `python -m flows save-store {name}`"
                )
            return ["url: user, password or options"] if found.url != url else []

        return await self._block(self._wanted.store, name, differences)

    async def _block(self, new: B, name: str, differences: Callable[[B, B], list[str]]) -> Step:
        kind = type(new)
        try:
            found = differences(await kind.aload(name), new)
        except RuntimeError:  # its values are invalid for this version
            found = ["cannot be read, is replaced"]
        except ValueError:
            found = [NEW]

        async def save() -> None:
            await new.asave(name, overwrite=True)

        return Step(f"block {kind.get_block_type_slug()}/{name}", found, save)

    async def _work_pool(self) -> Step:
        name = self._wanted.work_pool
        try:
            pool = await self._api.read_work_pool(name)
            step, found = f"work pool {name} (type {pool.type})", []
        except ObjectNotFound:
            step, found = f"work pool {name} (type process)", [NEW]
        create = WorkPoolCreate(name=name, type="process")
        return Step(step, found, lambda: self._api.create_work_pool(create))

    async def _automation(self) -> Step:
        automation = AutomationCore.model_validate(AUTOMATION)
        found = await self._api.read_automations_by_name(automation.name)
        related = [getattr(each.trigger, "match_related", None) for each in (automation, *found)]
        if any(each != related[0] for each in related):
            raise ConfigurationError(
                f"automation {automation.name!r}: it is not about runs with the tag {TAG}: rename or "
                "delete it"
            )
        step = f"automation {automation.name!r}"
        return Step(step, [] if found else [NEW], lambda: self._api.create_automation(automation))

    def _file(self) -> Step:
        new, old = self._wanted.text, self._old_text()
        differences = [NEW] if old is None else [] if old == new else ["changed"]
        if old is not None and old != new:
            self._say(difference(old, new))
            if is_by_hand(old) and not self._wanted.force:
                raise ConfigurationError(
                    f"{self._path}: it was changed by hand, or is not of init, and differs as above: "
                    "deploy it with `prefect --no-prompt deploy --all`, give another --directory, or "
                    "overwrite it with --force"
                )

        async def write() -> None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(new, encoding="utf-8")

        return Step(f"file {self._path}", differences, write)

    def _old_text(self) -> str | None:
        try:
            return self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{self._path}: it cannot be read: {error}") from error

    async def _deployments(self) -> Step:
        new = deployments_in(self._wanted.text)
        found = {each["name"]: await self._differences(each) for each in new}
        differences = [f"{name}: {each}" for name, several in found.items() for each in several]
        changed = [each for each in new if found[each["name"]]]
        return Step("deployments", differences, lambda: self._deploy(changed))

    async def _differences(self, new: dict[str, Any]) -> list[str]:
        name = _full_name(new)
        found = await self._find(name)
        if not found:
            return [NEW]
        if TAG not in found.tags:
            raise ConfigurationError(
                f"deployment {name}: it has no tag {TAG}, so it is not of init: rename or delete it, or "
                "deploy beside it with --suffix"
            )
        ours, theirs = new["parameters"].get("source"), found.parameters.get("source")
        if ours != theirs:
            raise ConfigurationError(
                f"deployment {name}: it reads the source {theirs}: deploy {ours} beside it with --suffix, or "
                "delete it"
            )
        return _compare(_features_found(found, bool(new["schedules"])), _features_wanted(new))

    async def _find(self, name: str) -> DeploymentResponse | None:
        try:
            return await self._api.read_deployment_by_name(name)
        except ObjectNotFound:
            return None

    async def _dropped(self) -> list[Step]:
        """Return a step for each scheduled deployment that the file will no longer have. Its runs stay."""
        kept = {each["name"] for each in deployments_in(self._wanted.text)}
        dropped = [each for each in deployments_in(self._old_text() or "") if each["name"] not in kept]
        return [step for each in dropped if (step := await self._turn_off(each))]

    async def _turn_off(self, old: dict[str, Any]) -> Step | None:
        try:
            name = _full_name(old)
        except (ImportError, AttributeError, ValueError):
            return None  # not a flow of ours
        found = await self._find(name)
        active = [each for each in found.schedules if each.active] if found and TAG in found.tags else []
        if not found or not active:
            return None
        deployment = found.id

        async def turn_off() -> None:
            for schedule in active:
                await self._api.update_deployment_schedule(deployment, schedule.id, active=False)

        return Step(f"deployment {name}", ["no longer chosen, its schedules are turned off"], turn_off)

    async def _deploy(self, changed: Sequence[dict[str, Any]]) -> None:
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy"]
        command += [word for each in changed for word in ("--name", each["name"])]
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        done = subprocess.run(  # noqa: ASYNC221 - there is nothing else to do meanwhile
            command,
            cwd=self._wanted.directory,
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        left = [each["name"] for each in changed if await self._differences(each)]
        if done.returncode or left:
            output = one_line(done.stdout + done.stderr)[-2000:]
            raise VelocityError(f"prefect deploy did not deploy {', '.join(left)}: {output}")


def _full_name(deployment: dict[str, Any]) -> str:
    return f"{flow_of(deployment).name}/{deployment['name']}"


def _spec_differences(found: WmsSource | SlottingEngine, new: WmsSource | SlottingEngine) -> list[str]:
    """Return the keys of the spec that differ, and whether the token does; no values, which may be secret."""
    specs = [each.spec.model_dump(mode="json") for each in (found, new)]
    keys = [f"spec.{key}" for key in specs[1] if specs[0].get(key) != specs[1][key]]
    return keys + [key for key in ("token", "token_secret") if getattr(found, key) != getattr(new, key)]


def _database(url: SecretStr) -> str:
    """Return a store's URL without what a change of the password changes."""
    parsed = parse_url(url.get_secret_value())
    host = f"{parsed.host or ''}{f':{parsed.port}' if parsed.port else ''}"
    return f"{parsed.drivername}://{host}/{parsed.database}"


def _features_wanted(deployment: dict[str, Any]) -> dict[str, Any]:
    limit = deployment.get("concurrency_limit") or {}
    return {
        **{f"parameters.{name}": value for name, value in deployment["parameters"].items()},
        **{f"schedule {each['slug']}": _schedule(**each) for each in deployment["schedules"]},
        "entrypoint": deployment["entrypoint"],
        "pull steps": [],
        "tags": sorted(deployment["tags"]),
        "work pool": deployment["work_pool"]["name"],
        "job variables": deployment["work_pool"]["job_variables"],
        "concurrency limit": (limit.get("limit"), limit.get("collision_strategy")),
        "parameters are validated": deployment["enforce_parameter_schema"],
        "description": deployment["description"],
        "parameter form": _form(parameter_schema(flow_of(deployment)).model_dump(mode="json")),
    }


def _features_found(found: DeploymentResponse, is_scheduled: bool) -> dict[str, Any]:
    """Return what can differ. Schedules that users have given to a deployment without one are theirs."""
    limit, options = found.global_concurrency_limit, found.concurrency_options
    return {
        **{f"parameters.{name}": value for name, value in found.parameters.items()},
        **{
            f"schedule {each.slug}": _schedule(active=each.active, **each.schedule.model_dump())
            for each in (found.schedules if is_scheduled else ())
        },
        "entrypoint": found.entrypoint,
        "pull steps": found.pull_steps or [],
        "tags": sorted(found.tags),
        "work pool": found.work_pool_name,
        "job variables": found.job_variables,
        "concurrency limit": (limit and limit.limit, options and options.collision_strategy.value),
        "parameters are validated": found.enforce_parameter_schema,
        "description": found.description,
        "parameter form": _form(found.parameter_openapi_schema or {}),
    }


def _form(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if value}  # the server omits empty parts


def _schedule(cron: str = "", timezone: str | None = None, active: bool = True, **_: object) -> str:
    return f"{cron} {timezone}{'' if active else ', inactive'}"


def _compare(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return what differs, with the values that fit on a line."""
    return [
        f"{name} is changed"
        if name in HIDDEN
        else f"{name}: {found.get(name, 'not set')} -> {wanted.get(name, 'not set')}"
        for name in dict.fromkeys([*wanted, *found])
        if found.get(name) != wanted.get(name)
    ]


async def apply(steps: Sequence[Step], say: Callable[[str], object]) -> None:
    """Take the steps with differences, one after another.

    Raises VelocityError, with what was done and what was not, if one fails.
    """
    due = [step for step in steps if step.differences]
    for number, step in enumerate(due):
        try:
            await step.apply()
        except Exception as error:
            done = ", ".join(each.name for each in due[:number]) or "nothing"
            rest = ", ".join(each.name for each in due[number:])
            raise VelocityError(
                f"{step.name}: {error}. Done: {done}. Not done: {rest}. The same command again continues"
            ) from error
        say(f"done: {step.name}")

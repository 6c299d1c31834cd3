"""What `init` must know: given as options, or asked for on a terminal, with the default shown."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from prefect.client.schemas.schedules import construct_schedule
from rich.prompt import Prompt
from rich.text import Text

from flows.init.deployments import BY_HAND, DAILY, GROUP, MANY, MASTER, ONE, SCHEDULES, TEMPLATES, Answers
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.window_grid import DAY_MINUTES
from sku_velocity.source.fields import check_zone
from sku_velocity.source.spec import SourceSpec
from sku_velocity.steps.access import STORE_VARIABLE
from sku_velocity.steps.requests import REPORTS, WindowMinutes
from sku_velocity.store.database import parse_url

T = TypeVar("T")

WORK_POOL = "sku-velocity"
STORE_BLOCK = "velocity"
STORE_FILE = "sku-velocity.db"
SUFFIX = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Options:
    """The options of `init`. On a terminal, it asks for those that are omitted."""

    source: Path | None = None
    """The path of the source's spec file (.yaml). It is saved as a wms-source block of the source's name."""
    token_env: str | None = None
    """The environment variable that holds the source's token, which is saved in the block."""
    token_secret: str | None = None
    """The Secret block that holds the source's token instead. Each run reads it."""
    warehouses: list[str] | None = None
    """A warehouse, as the API names it; repeat it for more. Omit for all that the source lists, if its spec
    says how they are listed."""
    store: str | None = None
    """The URL of the store, which is saved in a velocity-store block. Omit for $SKU_VELOCITY_STORE, which
    keeps a password off the command line."""
    push: Path | None = None
    """The path of a slotting engine's file (.yaml), to push published windows and classes to. Its token is
    in $SKU_VELOCITY_ENGINE_TOKEN. Omit for no push."""
    export_to: str | None = None
    """A directory on the workers' machines or a URL, for each window as Parquet. Omit for no export."""
    work_pool: str | None = None
    """The work pool that runs are sent to: an existing one, or else a new one of type process. Omit for
    sku-velocity."""
    deployment: list[str] | None = None
    """A deployment of this project's prefect.yaml; repeat it for more. Omit for those that a source with
    its number of warehouses needs."""
    schedule: dict[str, str] | None = None
    """A deployment's schedule as a cron expression: --schedule.sync-velocity '20 * * * *'. Omit for that of
    this project's prefect.yaml, or a daily one if windows are days."""
    time_zone: str | None = None
    """The time zone of the schedules, of daily windows and of velocity, such as Europe/Berlin. Omit for
    UTC."""
    window_minutes: WindowMinutes | None = None
    """Minutes per window. Omit for 60, or for 1440 if the source's window.grain is day."""
    reports: str | None = None
    """The directory on the workers' machines for velocity reports. Omit for reports in --directory."""
    directory: Path = Path()
    """The directory of your prefect.yaml."""
    suffix: str | None = None
    """Deploy under names that end in this, such as sync-velocity-SUFFIX, beside another source's. Its store
    is the block velocity-SUFFIX."""
    no_check: bool = False
    """Do not read two pages of the source first."""
    force: bool = False
    """Overwrite a prefect.yaml that was changed by hand or written by something else."""


@dataclass
class Questions:
    """Asks on a terminal; elsewhere, takes the default, or notes the option as missing."""

    is_terminal: bool = field(default_factory=lambda: sys.stdin.isatty() and sys.stdout.isatty())
    missing: list[str] = field(default_factory=list)

    def answer(
        self, given: T | None, option: str, question: str, default: str | None, read: Callable[[str], T]
    ) -> T | None:
        """Return what was given, or else what is answered, or else the default; None if it is missing."""
        if given is not None:
            return given
        if self.is_terminal:
            return read(self._ask(Text(question), default))
        if default is None:
            self.missing.append(option)
            return None
        return read(default)

    def _ask(self, question: Text, default: str | None) -> str:
        """Ask until there is an answer. Raises ConfigurationError at the end of the input."""
        answer = ""
        try:
            while not answer:
                answer = (Prompt.ask(question, default=default) if default else Prompt.ask(question)).strip()
        except EOFError as error:
            raise ConfigurationError(f"no answer to: {question}") from error
        return answer

    def check(self) -> None:
        """Raise ConfigurationError if an option is missing."""
        if self.missing:
            raise ConfigurationError(
                f"{', '.join(self.missing)}: missing. Give these options, or run init on a "
                "terminal, which asks for them"
            )


def names_in(text: str) -> list[str]:
    """Return the names in a text, separated by commas."""
    return [name for each in text.split(",") if (name := each.strip())]


def answer_store(options: Options, questions: Questions) -> str | None:
    """Return the store's URL; a SQLite file's path is absolute, since runs have directories of their own."""
    default = os.environ.get(STORE_VARIABLE)
    if default is None and questions.is_terminal:
        default = f"sqlite:///{(options.directory / STORE_FILE).absolute()}"
    if options.store is None and os.environ.get(STORE_VARIABLE):
        return _absolute(os.environ[STORE_VARIABLE])  # not asked: the prompt would show its password
    option = f"--store (or ${STORE_VARIABLE})"
    url = questions.answer(options.store, option, "Store: a PostgreSQL or SQLite URL", default, str)
    return _absolute(url) if url else None


def _absolute(url: str) -> str:
    parsed = parse_url(url)
    if parsed.drivername != "sqlite" or not parsed.database:
        return url
    return f"sqlite:///{Path(parsed.database).absolute()}"


def answer_token(options: Options, spec: SourceSpec, questions: Questions) -> tuple[str | None, str | None]:
    """Return the variable or the Secret block of the token; neither for a source without authentication."""
    if options.token_env and options.token_secret:
        raise ConfigurationError("--token-env and --token-secret: give one of them")
    if spec.auth.kind == "none" or options.token_secret:
        return options.token_env, options.token_secret
    question = f"Environment variable with the token of {spec.name}"
    return questions.answer(options.token_env, "--token-env or --token-secret", question, None, str), None


def answer(options: Options, spec: SourceSpec, engine: str | None, questions: Questions) -> Answers:
    """Ask for what else is needed to deploy a source.

    Raises ConfigurationError for an unknown deployment or time zone, an invalid schedule, and deployments
    that do not fit the source or its warehouses.
    """
    suffix = options.suffix or ""
    if suffix and not SUFFIX.fullmatch(suffix):
        raise ConfigurationError(f"--suffix: {suffix}: use lowercase letters, digits and dashes")
    is_master, lists = spec.items is not None, spec.warehouses is not None
    everything = "all that the source lists"
    warehouses: list[str] = options.warehouses or []
    if not is_master and not warehouses:
        default = everything if lists else None
        question = "Warehouses, as the API names them, separated by commas"
        asked = questions.answer(None, "--warehouse", question, default, str)
        warehouses = [] if lists and asked == everything else names_in(asked or "")
        if asked is not None and not warehouses and not lists:
            questions.missing.append("--warehouse")
    zone = questions.answer(options.time_zone, "--time-zone", "Time zone of the schedules", "UTC", str) or ""
    try:
        check_zone(zone)
    except ValueError as error:
        raise ConfigurationError(f"--time-zone: {error}") from error
    chosen = _choose(options, is_master, len(warehouses) == 1, questions)
    minutes = options.window_minutes
    is_daily = spec.window.grain == "day" if minutes is None else minutes >= DAY_MINUTES
    pool = questions.answer(options.work_pool, "--work-pool", "Work pool", WORK_POOL, str)
    questions.check()
    return Answers(
        source=spec.name,
        store=STORE_BLOCK + (f"-{suffix}" if suffix else ""),
        engine=engine,
        warehouses=warehouses,
        shares_pace=spec.pace.shared_limit is not None,
        export_to=_absolute_path(options.export_to, Path()),
        work_pool=pool or WORK_POOL,
        deployments=chosen,
        schedules=_schedules(options, chosen, is_daily, zone, questions),
        time_zone=zone,
        window_minutes=minutes,
        window_zone=zone if minutes and is_daily else None,
        reports=_absolute_path(options.reports, Path()) or str((options.directory / REPORTS).absolute()),
        suffix=suffix,
    )


def _absolute_path(target: str | None, base: Path) -> str | None:
    """Return a directory as an absolute path, since runs have directories of their own; a URL as it is."""
    return str((base / target).absolute()) if target and "://" not in target else target


def _choose(options: Options, is_master: bool, is_one: bool, questions: Questions) -> list[str]:
    """Return the deployments, in the order of the project's prefect.yaml."""
    default = [MASTER] if is_master else [ONE if is_one else MANY, "refresh-velocity", *BY_HAND, "prune"]
    if options.export_to:
        default.append("compact")
    question = f"Deployments, of {', '.join(name for name in TEMPLATES if name != GROUP)}"
    chosen = (
        questions.answer(options.deployment, "--deployment", question, ", ".join(default), names_in) or []
    )
    if unknown := [name for name in chosen if name not in TEMPLATES]:
        raise ConfigurationError(
            f"--deployment: unknown {', '.join(unknown)}: choose of {', '.join(TEMPLATES)}"
        )
    if ONE in chosen and not is_one:
        raise ConfigurationError(
            f"--deployment: {ONE} reads one warehouse: choose {MANY}, or name one --warehouse"
        )
    if is_master != (MASTER in chosen) or is_master and {ONE, MANY} & set(chosen):
        what = "items (a master)" if is_master else "movements"
        raise ConfigurationError(f"--deployment: the source has {what}: choose {MASTER} only for items")
    if "compact" in chosen and not options.export_to:
        raise ConfigurationError("--export-to: missing. compact joins the files that are exported there")
    needed = {*chosen, *([GROUP] if MANY in chosen else [])}
    return [name for name in TEMPLATES if name in needed]


def _schedules(
    options: Options, chosen: Sequence[str], is_daily: bool, zone: str, questions: Questions
) -> dict[str, str]:
    """Return the cron expression of each deployment that is scheduled."""
    given = options.schedule or {}
    if wrong := sorted(given.keys() - (SCHEDULES.keys() & set(chosen))):
        raise ConfigurationError(f"--schedule.{wrong[0]}: no scheduled deployment of this name is chosen")
    crons = {}
    for name in chosen:
        if name in SCHEDULES:
            default = DAILY if is_daily and name in (ONE, MANY) else SCHEDULES[name]
            cron = questions.answer(
                given.get(name), "--schedule", f"Schedule of {name} (cron, {zone})", default, str
            )
            try:
                construct_schedule(cron=cron, timezone=zone)
            except ValueError as error:
                raise ConfigurationError(
                    f"--schedule.{name}: {cron!r} is not a cron expression such as '{default}'"
                ) from error
            crons[name] = cron or default
    return crons

"""How a run reaches its source, its store and its slotting engine: by spec files, URLs and the environment.

Prefect's blocks have the same members, and their lookup falls back to the functions here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import AnyHttpUrl, SecretStr

from sku_velocity.errors import ConfigurationError
from sku_velocity.http.spec import TlsSpec
from sku_velocity.slotting.client import SlottingClient
from sku_velocity.slotting.spec import EngineSpec, load_engine
from sku_velocity.source.client import SourceClient
from sku_velocity.source.spec import SourceSpec, load_spec
from sku_velocity.store import Store
from sku_velocity.store.database import parse_url

STORE_VARIABLE = "SKU_VELOCITY_STORE"
ENGINE_TOKEN_VARIABLE = "SKU_VELOCITY_ENGINE_TOKEN"
EMBEDDED_STORE = "sqlite:///sku-velocity.db"
UNVERIFIED = (
    "The certificate of %s is not verified (tls.verify: false): anyone who answers in its place gets the "
    "token and can send any data. Set tls.ca_file to its certificate authority instead."
)

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]
LOG = logging.getLogger("sku_velocity")


class SourceAccess(Protocol):
    """A source: its spec, and how to open a client of it."""

    @property
    def spec(self) -> SourceSpec: ...

    def get_client(self) -> AbstractAsyncContextManager[SourceClient]: ...


class StoreAccess(Protocol):
    """A store: its URL, and how to open it."""

    @property
    def url(self) -> SecretStr: ...

    def get_store(self) -> AbstractAsyncContextManager[Store]: ...


class EngineAccess(Protocol):
    """A slotting engine: its spec, and how to open a client of it."""

    @property
    def spec(self) -> EngineSpec: ...

    def get_client(self) -> AbstractAsyncContextManager[SlottingClient]: ...


@dataclass(frozen=True)
class FileSource:
    """A source by its spec and token."""

    spec: SourceSpec
    token: SecretStr | None = None

    @asynccontextmanager
    async def get_client(self) -> AsyncIterator[SourceClient]:
        """Open a client for the running event loop."""
        warn_if_unverified(self.spec.tls, self.spec.base_url)
        async with SourceClient.open(self.spec, self.token) as client:
            yield client


@dataclass(frozen=True)
class UrlStore:
    """A store by its URL."""

    url: SecretStr

    def get_store(self) -> AbstractAsyncContextManager[Store]:
        """Open the store for the running event loop. Raises what `Store.open` raises."""
        return Store.open(self.url.get_secret_value())


@dataclass(frozen=True)
class FileEngine:
    """A slotting engine by its spec and token."""

    spec: EngineSpec
    token: SecretStr | None = None

    @asynccontextmanager
    async def get_client(self) -> AsyncIterator[SlottingClient]:
        """Open a client for the running event loop."""
        warn_if_unverified(self.spec.tls, self.spec.base_url)
        async with SlottingClient.open(self.spec, self.token) as client:
            yield client


@dataclass(frozen=True)
class LentSource:
    """A source whose client another run has opened."""

    spec: SourceSpec
    client: SourceClient

    def get_client(self) -> AbstractAsyncContextManager[SourceClient]:
        """Return the open client, which stays open."""
        return nullcontext(self.client)


@dataclass(frozen=True)
class LentStore:
    """A store that another run has opened."""

    store: Store
    url: SecretStr

    def get_store(self) -> AbstractAsyncContextManager[Store]:
        """Return the open store, which stays open."""
        return nullcontext(self.store)


@dataclass(frozen=True)
class LentEngine:
    """A slotting engine whose client another run has opened."""

    spec: EngineSpec
    client: SlottingClient

    def get_client(self) -> AbstractAsyncContextManager[SlottingClient]:
        """Return the open client, which stays open."""
        return nullcontext(self.client)


def is_file(name: str) -> bool:
    """Return True if a source or an engine is named by the path of its file."""
    return name.endswith((".yaml", ".yml"))


def find_source(name: str, token_env: str | None = None) -> FileSource:
    """Load a source from its spec file, with the token in the environment variable `token_env`.

    Raises ConfigurationError if the name is not a file's, if there is no such file or variable, or if the
    spec is invalid.
    """
    if not is_file(name):
        raise ConfigurationError(_needs_prefect("source", name, "the path of a spec file that ends in .yaml"))
    return FileSource(load_spec(Path(name)), token_of(token_env))


def find_store(name: str | None, variable: str = STORE_VARIABLE) -> UrlStore:
    """Return the store at a URL; without one, at the URL in `variable`, or else one file in this directory.

    Raises ConfigurationError if the name is not a URL.
    """
    if name is None:
        return UrlStore(SecretStr(os.environ.get(variable, EMBEDDED_STORE)))
    if "://" not in name:
        raise ConfigurationError(_needs_prefect("store", name, "a URL such as sqlite:///sku-velocity.db"))
    parse_url(name)
    return UrlStore(SecretStr(name))


def find_engine(name: str, variable: str = ENGINE_TOKEN_VARIABLE) -> FileEngine:
    """Load a slotting engine from its file, with the token in `variable`, if that is set.

    Raises ConfigurationError if the name is not a file's, or if the file is invalid.
    """
    if not is_file(name):
        raise ConfigurationError(
            _needs_prefect("push", name, "the path of an engine file that ends in .yaml")
        )
    token = os.environ.get(variable)
    return FileEngine(load_engine(Path(name)), SecretStr(token) if token else None)


def token_of(variable: str | None) -> SecretStr | None:
    """Return the token in an environment variable; None without a variable."""
    if variable is None:
        return None
    try:
        return SecretStr(os.environ[variable])
    except KeyError as error:
        raise ConfigurationError(
            f"token: the environment variable {variable} is not set in the environment of the run"
        ) from error


def warn_if_unverified(tls: TlsSpec, base_url: AnyHttpUrl, log: Log = LOG) -> None:
    """Log a warning if the certificate of this address is not verified."""
    if not tls.verify:
        log.warning(UNVERIFIED, base_url)


def _needs_prefect(option: str, name: str, instead: str) -> str:
    return (
        f"{option}: {name} is not {instead}. If it is the name of a Prefect block, run the same command with "
        f"Prefect: python -m flows"
    )

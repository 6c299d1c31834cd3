"""The pipeline as a function: read one window whole, prove it, and publish it, in the caller's event loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from sku_velocity.model.run import RunReport
from sku_velocity.model.window import Window
from sku_velocity.source.spec import SourceSpec, load_spec
from sku_velocity.steps.access import FileSource, SourceAccess
from sku_velocity.steps.display import Listener
from sku_velocity.steps.requests import SyncRequest
from sku_velocity.steps.run_context import RunContext
from sku_velocity.steps.sync import sync


async def sync_window(
    spec: SourceSpec | Path | str,
    *,
    store: str,
    warehouse: str,
    window: Window | None = None,
    token: str | None = None,
    progress: Callable[[int, int], object] | None = None,
    **options: Any,
) -> RunReport:
    """Read one window of one warehouse whole, prove it, and publish it in one step.

    Chunks are read concurrently, at the pace of the spec. A chunk is tried again after a temporary failure of
    the source or the store. Check `report.published`: a window that cannot be proven is not published.

    Args:
        spec: The source, or the path of its spec file.
        store: sqlite:///file.db or postgresql://user:password@host/database. An empty store gets its tables.
        warehouse: The warehouse, as the API names it.
        window: The window, in UTC. Omit for the last settled one, an hour unless `window_minutes` is given,
            or for everything if the source cannot be asked for a window.
        token: The secret that the API requires, if any.
        progress: Called with the number of landed chunks and of all chunks, as chunks land.
        options: Other fields of `sku_velocity.steps.requests.SyncRequest`, such as `resume="RUN_ID"`,
            `require_proof=True` or `master="erp"`.

    Raises:
        ConfigurationError: A setting is wrong: the spec, the token, the store or an option.
        RetriableError: The source or the store was unavailable, after all retries. Call it again with
            `resume` to read only what has not landed.
        pydantic.ValidationError: An option is unknown or invalid.
    """
    if not isinstance(spec, SourceSpec):
        spec = load_spec(Path(spec))
    bounds = {} if window is None or window.is_everything else {"start": window.start, "end": window.end}
    request = SyncRequest(source=spec.name, store=store, warehouse=warehouse, **bounds, **options)
    context = _ApiContext(FileSource(spec, SecretStr(token) if token else None), progress)
    async with context.opened():
        return (await sync(context, request)).report


class _ApiContext(RunContext):
    """The context of a call: its source is given, not named."""

    def __init__(self, source: SourceAccess, progress: Callable[[int, int], object] | None) -> None:
        super().__init__(listener=Listener(progress=progress) if progress else None)
        self._given = source

    async def find_source(self, name: str, token_env: str | None) -> SourceAccess:
        return self._given

"""The WMS or ERP that movements are read from."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from prefect.blocks.abstract import CredentialsBlock
from pydantic import ConfigDict, Field, HttpUrl, SecretStr

from blocks.run_log import warn_if_unverified
from blocks.shared_pace import shared_pace
from blocks.stored import load_stored
from sku_velocity.errors import ConfigurationError
from sku_velocity.source.client import SourceClient
from sku_velocity.source.spec import SourceSpec, load_spec


class WmsSource(CredentialsBlock):
    """One API of a WMS or ERP: its paging, total, field names and rate limits, and the token it requires.

    Example:
        Load a stored source and count its records:
        ```python
        from blocks import WmsSource
        from sku_velocity.model.window import Window
        from sku_velocity.source.window import WindowReader

        source = WmsSource.load("BLOCK_NAME")
        async with source.get_client() as client:
            probe = await WindowReader.of(client, "WH-01", Window.everything()).probe()
            print(probe.total)
        ```
    """

    _block_type_name = "WMS Source"
    _block_type_slug = "wms-source"
    _documentation_url = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")

    model_config = ConfigDict(hide_input_in_errors=True)  # logs would show the input

    spec: SourceSpec = Field(description="The API's dialect: address, paging, total, fields and pace.")
    token: SecretStr | None = Field(
        default=None, description="The secret that the API requires. Omit for auth.kind: none."
    )

    @asynccontextmanager
    async def get_client(self) -> AsyncIterator[SourceClient]:
        """Open a client for the running event loop, at the shared pace if there is one.

        Warns if certificates are not verified. Raises ConfigurationError without a token, or if the limit
        that `pace.shared_limit` names does not exist.
        """
        warn_if_unverified(self.spec.tls, self.spec.base_url)
        async with SourceClient.open(self.spec, self.token) as client:
            if self.spec.pace.shared_limit is None:
                yield client
            else:
                async with shared_pace(self.spec.pace, client.pacer):
                    yield client


async def find_source(name: str, token_env: str | None = None) -> WmsSource:
    """Return the source of this name: a spec file if it ends in .yaml or .yml, otherwise a stored block.

    The token comes from the environment variable `token_env`, if one is named, or else from the block.
    Raises ConfigurationError if there is no such file, block or variable, or if the spec is invalid.
    """
    if name.endswith((".yaml", ".yml")):
        return WmsSource(spec=load_spec(Path(name)), token=_token(token_env))
    source = await load_stored(
        WmsSource, name, f"save-source {name} --spec FILE", "the path of a spec file that ends in .yaml"
    )
    return source.model_copy(update={"token": _token(token_env)}) if token_env else source


def _token(variable: str | None) -> SecretStr | None:
    if variable is None:
        return None
    try:
        return SecretStr(os.environ[variable])
    except KeyError as error:
        raise ConfigurationError(
            f"token: the environment variable {variable} is not set in the environment of the flow run"
        ) from error

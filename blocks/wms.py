"""The WMS or ERP that movements are read from."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefect.blocks.abstract import CredentialsBlock
from pydantic import ConfigDict, Field, HttpUrl, SecretStr

from blocks.run_log import run_logger
from blocks.stored import load_stored, load_token
from sku_velocity.source.client import SourceClient
from sku_velocity.source.spec import SourceSpec
from sku_velocity.steps import access
from sku_velocity.steps.access import is_file, token_of, warn_if_unverified


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
    token_secret: str | None = Field(
        default=None,
        description="The name of a Secret block that holds the token instead; each run reads it.",
    )

    @asynccontextmanager
    async def get_client(self) -> AsyncIterator[SourceClient]:
        """Open a client for the running event loop.

        Warns if certificates are not verified. Raises ConfigurationError without a token.
        With `pace.shared_limit`, it sends one request a second, unless a run sets its share.
        """
        warn_if_unverified(self.spec.tls, self.spec.base_url, run_logger("tls"))
        token = await load_token(self.token, self.token_secret)
        async with SourceClient.open(self.spec, token) as client:
            yield client


async def find_source(name: str, token_env: str | None = None) -> WmsSource:
    """Return the source of this name: a spec file if it ends in .yaml or .yml, otherwise a stored block.

    The token comes from the environment variable `token_env`, if one is named, or else from the block.
    Raises ConfigurationError if there is no such file, block or variable, or if the spec is invalid.
    """
    if is_file(name):
        source = access.find_source(name, token_env)
        return WmsSource(spec=source.spec, token=source.token)
    stored = await load_stored(
        WmsSource, name, f"save-source {name} --spec FILE", "the path of a spec file that ends in .yaml"
    )
    return stored.model_copy(update={"token": token_of(token_env)}) if token_env else stored

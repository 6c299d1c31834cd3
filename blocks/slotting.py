"""The slotting engine that published movements and velocity classes are pushed to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefect.blocks.abstract import CredentialsBlock
from pydantic import ConfigDict, Field, HttpUrl, SecretStr

from blocks.run_log import run_logger
from blocks.stored import load_stored, load_token
from sku_velocity.slotting.client import SlottingClient
from sku_velocity.slotting.spec import EngineSpec
from sku_velocity.steps import access
from sku_velocity.steps.access import ENGINE_TOKEN_VARIABLE, is_file, warn_if_unverified


class SlottingEngine(CredentialsBlock):
    """One slotting engine: where it accepts movements and classes, how many per request, and its token.

    Example:
        Load a stored engine and send it a SKU's classes:
        ```python
        from blocks import SlottingEngine
        from sku_velocity.model.push import SkuFigures, class_batch

        engine = SlottingEngine.load("BLOCK_NAME")
        async with engine.get_client() as client:
            answer = await client.push_classes(
                class_batch("acme", 0, [SkuFigures("WH-01", "SKU-1", {"abc_lines": "A"})])
            )
            print(answer.accepted, answer.rejected)
        ```
    """

    _block_type_name = "Slotting Engine"
    _block_type_slug = "slotting-engine"
    _documentation_url = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")

    model_config = ConfigDict(hide_input_in_errors=True)  # logs would show the input

    spec: EngineSpec = Field(description="The engine's address, its paths, batch size, header and pace.")
    token: SecretStr | None = Field(
        default=None, description="The engine's bearer token. Omit for an engine that requires none."
    )
    token_secret: str | None = Field(
        default=None,
        description="The name of a Secret block that holds the token instead; each run reads it.",
    )

    @asynccontextmanager
    async def get_client(self) -> AsyncIterator[SlottingClient]:
        """Open a client for the running event loop.

        Warns if certificates are not verified. Raises ConfigurationError if no header can hold the token.
        With `pace.shared_limit`, it sends one request a second, unless a run sets its share.
        """
        warn_if_unverified(self.spec.tls, self.spec.base_url, run_logger("tls"))
        token = await load_token(self.token, self.token_secret)
        async with SlottingClient.open(self.spec, token) as client:
            yield client


async def find_engine(name: str, variable: str = ENGINE_TOKEN_VARIABLE) -> SlottingEngine:
    """Return the engine of this name: a file if it ends in .yaml or .yml, otherwise a stored block.

    A file takes its token from the environment variable `variable`, if that is set. Raises
    ConfigurationError if there is no such file or block, or if its spec is invalid.
    """
    if is_file(name):
        engine = access.find_engine(name, variable)
        return SlottingEngine(spec=engine.spec, token=engine.token)
    return await load_stored(
        SlottingEngine,
        name,
        f"save-engine {name} --spec FILE",
        "the path of an engine file that ends in .yaml",
    )

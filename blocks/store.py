"""The store that windows are published in."""

import os
from contextlib import AbstractAsyncContextManager

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, HttpUrl, SecretStr

from blocks.stored import load_stored
from sku_velocity.errors import ConfigurationError
from sku_velocity.store import Store
from sku_velocity.store.database import holds_password

STORE_VARIABLE = "SKU_VELOCITY_STORE"
EMBEDDED_STORE = "sqlite:///sku-velocity.db"


class VelocityStore(Block):
    """The database of movements, ledger and dead letters: SQLite in one file, or PostgreSQL.

    Example:
        Load a stored address and open the store:
        ```python
        from blocks import VelocityStore

        address = VelocityStore.load("BLOCK_NAME")
        async with address.get_store() as store:
            run = await store.find_run("0199a0b1-0000-7000-8000-000000000000")
        ```
    """

    _block_type_name = "Velocity Store"
    _block_type_slug = "velocity-store"
    _documentation_url = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")

    model_config = ConfigDict(hide_input_in_errors=True)  # which a log would show

    url: SecretStr = Field(
        description="sqlite:///file.db or postgresql://user:password@host/database; the driver is ours."
    )

    def get_store(self) -> AbstractAsyncContextManager[Store]:
        """The store for the event loop that enters it. Raises what `Store.open` raises."""
        return Store.open(self.url.get_secret_value())


async def find_store(name: str | None, variable: str = STORE_VARIABLE) -> VelocityStore:
    """The store of this name: a URL or a stored block; without a name, the URL that `variable` holds.

    Without that, too, it is one SQLite file in the working directory. Raises ConfigurationError where
    there is no such block, and where a URL carries a password: Prefect keeps parameters in clear.
    """
    if name is None:
        return VelocityStore(url=SecretStr(os.environ.get(variable, EMBEDDED_STORE)))
    if "://" not in name:
        return await load_stored(
            VelocityStore, name, f"save-store {name}", "a URL such as sqlite:///sku-velocity.db"
        )
    if holds_password(name):
        raise ConfigurationError(
            "the store's URL carries a password, and Prefect keeps parameters in clear: "
            f"put it into a velocity-store block, or into {variable} where the flow runs"
        )
    return VelocityStore(url=SecretStr(name))

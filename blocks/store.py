"""The store that windows are published in."""

from contextlib import AbstractAsyncContextManager

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, HttpUrl, SecretStr

from blocks.stored import load_stored
from sku_velocity.errors import ConfigurationError
from sku_velocity.steps import access
from sku_velocity.steps.access import STORE_VARIABLE
from sku_velocity.store import Store
from sku_velocity.store.database import holds_password, parse_url


class VelocityStore(Block):
    """The database of movements, ledger and dead letters: SQLite in one file, or PostgreSQL.

    Example:
        Load a stored address and open the store:
        ```python
        from blocks import VelocityStore

        address = VelocityStore.load("BLOCK_NAME")
        async with address.get_store() as store:
            run = await store.runs.find("0199a0b1-0000-7000-8000-000000000000")
        ```
    """

    _block_type_name = "Velocity Store"
    _block_type_slug = "velocity-store"
    _documentation_url = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")

    model_config = ConfigDict(hide_input_in_errors=True)  # logs would show the input

    url: SecretStr = Field(
        description="sqlite:///file.db or postgresql://user:password@host/database, without a driver."
    )

    def get_store(self) -> AbstractAsyncContextManager[Store]:
        """Open the store for the running event loop. Raises what `Store.open` raises."""
        return Store.open(self.url.get_secret_value())


async def find_store(name: str | None, variable: str = STORE_VARIABLE) -> VelocityStore:
    """Return the store of this name: a URL or a stored block; without a name, the URL in `variable`.

    If that is not set either, it is one SQLite file in the working directory. Raises ConfigurationError if
    there is no such block, or if a URL contains a password: Prefect stores parameters in clear text.
    """
    if name is not None and "://" not in name:
        return await load_stored(
            VelocityStore, name, f"save-store {name}", "a URL such as sqlite:///sku-velocity.db"
        )
    if name is not None and holds_password(name):  # an unparsable URL counts as one with a password
        parse_url(name)
        raise ConfigurationError(
            "the store's URL contains a password, and Prefect stores parameters in clear text: put the URL "
            f"into a velocity-store block, or into {variable} in the environment of the flow run"
        )
    return VelocityStore(url=access.find_store(name, variable).url)

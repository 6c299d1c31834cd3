"""The command `migrate`."""

from __future__ import annotations

from sku_velocity.cli.executor import current, run
from sku_velocity.cli.terminal import DONE
from sku_velocity.store import migrate


def migrate_store(*, store: str | None = None) -> int:
    """Migrate a store's schema to the latest version.

    Parameters
    ----------
    store
        A URL or, with Prefect, a velocity-store block's name. Omit for $SKU_VELOCITY_STORE.
    """

    async def upgrade() -> str:
        found = await current().context().find_store(store)
        return await migrate(found.url.get_secret_value())

    print(f"schema version {run(upgrade())}")
    return DONE

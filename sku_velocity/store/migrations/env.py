"""The Alembic environment: runs the migrations in the transaction of the given connection."""

from alembic import context

from sku_velocity.store.schema import VERSION_TABLE
from sku_velocity.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()

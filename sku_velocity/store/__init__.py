"""The store: ledger, movements and dead letters in SQLite or PostgreSQL."""

from sku_velocity.store.store import Store, migrate

__all__ = ["Store", "migrate"]

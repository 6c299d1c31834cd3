"""The first schema. An empty store is created from the tables and views, not by migrations."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Change nothing: no store is older."""

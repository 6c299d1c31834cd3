"""Run the command line with Prefect: `python -m flows`."""

import os
from typing import NoReturn

from sku_velocity.process.garbage import relaxed_collection


def main() -> NoReturn:
    """Run the command that the process was started with, and exit."""
    # To find its plugins, pydantic would search all installed packages at each start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    with relaxed_collection():  # what is imported stays
        from flows.command_line import main as run
        from flows.runtime.shutdown import flush_and_exit

        flush_and_exit(run())


if __name__ == "__main__":
    main()

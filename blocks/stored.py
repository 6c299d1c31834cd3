"""Blocks by their name, and what to do where there is none or it does not hold what it should."""

from typing import TypeVar

from prefect.blocks.core import Block
from pydantic import ValidationError

from sku_velocity.errors import ConfigurationError
from sku_velocity.spec_file import format_errors

B = TypeVar("B", bound=Block)


async def load_stored(kind: type[B], name: str, command: str, instead: str) -> B:
    """The stored block of this kind and name.

    Raises ConfigurationError where there is none, naming what can be given `instead`, and where its values
    break a rule of the kind, naming each and the `command` that saves it anew.
    """
    block = f"{kind.get_block_type_slug()}/{name}"
    try:
        return await kind.aload(name)
    except ValueError as error:
        raise ConfigurationError(
            f"no block {block}: make one in the Prefect UI (Blocks), or give {instead}"
        ) from error
    except RuntimeError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        raise ConfigurationError(
            f"the block {block} cannot be used: {format_errors(error.__cause__)}; mend it in the Prefect UI "
            f"(Blocks), or save it anew with `python -m flows {command}`"
        ) from None  # for Prefect's own words advise to load it unchecked

"""Loading blocks by name, with errors that say what to do about a missing or invalid block."""

from typing import TypeVar

from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from pydantic import SecretStr, ValidationError

from sku_velocity.errors import ConfigurationError
from sku_velocity.spec_errors import format_errors

B = TypeVar("B", bound=Block)


async def load_stored(kind: type[B], name: str, command: str, instead: str) -> B:
    """Load the block of this kind and name.

    Raises ConfigurationError if there is none, naming what can be given `instead`, or if its values are
    invalid, naming each and the `command` that saves the block again.
    """
    block = f"{kind.get_block_type_slug()}/{name}"
    try:
        return await kind.aload(name)
    except ValueError as error:
        raise ConfigurationError(
            f"no block {block}: create it in the Prefect UI (Blocks), or give {instead}"
        ) from error
    except RuntimeError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        raise ConfigurationError(
            f"the block {block} cannot be used: {format_errors(error.__cause__)}; fix it in the Prefect UI "
            f"(Blocks), or save it again with `python -m flows {command}`"
        ) from None  # since Prefect's message advises to load it without validation


async def load_token(token: SecretStr | None, name: str | None) -> SecretStr | None:
    """Return a block's token: its own or, without one, the text in the Secret block of this name, if given.

    Raises ConfigurationError if there is no such block, or if it holds something else than text.
    """
    if token is not None or name is None:
        return token
    secret = (await load_stored(Secret, name, "save-source", "the token itself")).get()
    if not isinstance(secret, str) or not secret:
        raise ConfigurationError(f"the block secret/{name} holds no text: a token is text that is not empty")
    return SecretStr(secret)

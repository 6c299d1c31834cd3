"""All errors, sorted by what to do next.

VelocityError
├── ConfigurationError            change a setting, then run again
│   ├── SpecError                   the source's spec
│   ├── StoreConfigurationError     the store's address, rights or schema version
│   ├── SourceAddressError          base_url or path: no such host, not found, a redirect
│   │   └── NoSuchPageError             no such page: past the end, or a wrong path
│   ├── SourceAuthError             the token: refused with 401 or 403
│   ├── SourceMappingError          records, total or fields: the response does not match the spec
│   ├── EngineRefusalError          the slotting engine refused a whole batch, as too large or invalid
│   │   ├── EngineAddressError          base_url or paths: not found, a redirect
│   │   └── EngineAuthError             the token: refused with 401 or 403
│   └── EngineContractError         it took a batch, but its response does not cover each record
├── IncompleteWindowError         the window was not proven whole: nothing was published
└── RetriableError                wait, then run again: no change is needed
    ├── SourceUnavailableError      all attempts of a request failed
    │   └── UnreadableBodyError       the response was never JSON
    ├── SourceThrottledError        the source asks to wait longer than one request may
    ├── EngineUnavailableError      all attempts of a batch failed: the slotting engine is unavailable
    ├── EngineThrottledError        the slotting engine asks to wait longer than one batch may
    ├── StoreUnavailableError       the store is unavailable, locked or full
    └── ExportError                 a published window could not be exported
"""

from typing import NamedTuple

from sku_velocity.masking import hide_distinctive


class RequestCost(NamedTuple):
    """What a request cost, with its repetitions: how many were sent, retried and throttled; seconds."""

    requests: int = 0
    retried: int = 0
    throttled: int = 0
    seconds: float = 0.0


class VelocityError(Exception):
    """An error for the operator: what happened, where, and what to do next. Its message holds no secret.

    `cost` is that of the request that failed, if one did.
    """

    cost = RequestCost()

    def __init__(self, message: str = "") -> None:
        super().__init__(hide_distinctive(message))


class ConfigurationError(VelocityError):
    """A setting is wrong. The same run fails the same way until it is changed."""


class SpecError(ConfigurationError):
    """A spec cannot be read, is invalid or contradicts itself."""


class StoreConfigurationError(ConfigurationError):
    """The store cannot be used as configured: its address, its credentials or its schema version."""


class SourceAddressError(ConfigurationError):
    """The source is not at this address: not found, a redirect, or no such host."""


class NoSuchPageError(SourceAddressError):
    """The source has no such page: it is past the end, or the path is wrong."""


class SourceAuthError(ConfigurationError):
    """The source refused the credentials."""


class SourceMappingError(ConfigurationError):
    """The response of the source does not have the shape that its spec describes."""


class EngineRefusalError(ConfigurationError):
    """The slotting engine refused a whole batch.

    `took_nothing` is True if the engine certainly took no record: no earlier attempt may have been taken and
    its response lost.
    """

    took_nothing = False


class EngineAddressError(EngineRefusalError):
    """The slotting engine is not at this address: not found, or a redirect."""


class EngineAuthError(EngineRefusalError):
    """The slotting engine refused the credentials."""


class EngineContractError(ConfigurationError):
    """The slotting engine took a batch, but its response does not cover each record."""


class IncompleteWindowError(VelocityError):
    """The window was not proven whole, so none of it was published."""


class RetriableError(VelocityError):
    """A temporary failure of the source, the engine or the store. The same run may succeed later.

    `wait` is the number of seconds that the server asked to wait, 0 if it did not say.
    """

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class SourceUnavailableError(RetriableError):
    """A request failed on every attempt that its retry policy allows."""


class UnreadableBodyError(SourceUnavailableError):
    """The body of a response is not JSON: truncated, or an HTML page."""


class SourceThrottledError(RetriableError):
    """The source asked one request to wait longer than the limit."""


class EngineUnavailableError(RetriableError):
    """A batch got no readable response on any attempt that its retry policy allows."""


class EngineThrottledError(RetriableError):
    """The slotting engine asked one batch to wait longer than the limit."""


class StoreUnavailableError(RetriableError):
    """The store is unavailable, locked by another writer, or full."""


class ExportError(RetriableError):
    """A published window could not be exported. It stays published."""

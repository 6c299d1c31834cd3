"""What can go wrong, sorted by what to do next.

VelocityError
├── ConfigurationError            change a setting, then run again
│   ├── SpecError                   the source's description
│   ├── StoreConfigurationError     the store's address, rights or schema version
│   ├── SourceAddressError          base_url or path: nothing that answers, not found, a redirect
│   │   └── NoSuchPageError             there is nothing at this place: past the end, or a wrong path
│   ├── SourceAuthError             the token: refused with 401 or 403
│   ├── SourceMappingError          records, total or fields: the answer is not what the spec describes
│   ├── EngineRefusalError          the slotting engine refused a batch as a whole, as too large or wrong
│   │   ├── EngineAddressError          base_url or paths: not found, a redirect
│   │   └── EngineAuthError             the token: refused with 401 or 403
│   └── EngineContractError         it took a batch, and did not tell of each record
├── IncompleteWindowError         the window was not proven whole: nothing was published
└── RetriableError                wait, then run again: nothing needs to change
    ├── SourceUnavailableError      a request's attempts are spent
    │   └── UnreadableBodyError       the answer stayed something else than JSON
    ├── SourceThrottledError        the source asks for more patience than one request has
    ├── EngineUnavailableError      a batch's attempts are spent: the slotting engine is away
    ├── EngineThrottledError        the slotting engine asks for more patience than one batch has
    ├── StoreUnavailableError       the store is away, locked or full
    └── ExportError                 a published window could not be written out
"""


class VelocityError(Exception):
    """Something the operator should read: what happened, where, and what to do next."""


class ConfigurationError(VelocityError):
    """A setting is wrong. The same run fails the same way until somebody changes it."""


class SpecError(ConfigurationError):
    """A source's description cannot be read or contradicts itself."""


class StoreConfigurationError(ConfigurationError):
    """The store cannot be used as configured: its address, its credentials or its schema version."""


class SourceAddressError(ConfigurationError):
    """Nothing at this address speaks for the source: not found, a redirect, or no such host."""


class NoSuchPageError(SourceAddressError):
    """The source has nothing at this place: a page past the end, or a path that is wrong."""


class SourceAuthError(ConfigurationError):
    """The source refused the credentials."""


class SourceMappingError(ConfigurationError):
    """The source answered, but not in the shape that its spec describes."""


class EngineRefusalError(ConfigurationError):
    """The slotting engine refused a batch as a whole.

    `took_nothing` is whether that is certain: no earlier attempt may have been taken before its answer was
    lost.
    """

    took_nothing = False


class EngineAddressError(EngineRefusalError):
    """Nothing at this address speaks for the slotting engine: not found, or a redirect."""


class EngineAuthError(EngineRefusalError):
    """The slotting engine refused the credentials."""


class EngineContractError(ConfigurationError):
    """The slotting engine took a batch, but its answer does not tell of each record."""


class IncompleteWindowError(VelocityError):
    """The window was not proven whole, so nothing of it was published."""


class RetriableError(VelocityError):
    """The other side is away for now. The same run may well succeed later.

    `wait` is the seconds that the other side asked for, 0 where it did not say.
    """

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class SourceUnavailableError(RetriableError):
    """A request failed on every attempt that its retry policy allows."""


class UnreadableBodyError(SourceUnavailableError):
    """The body of an answer is not JSON: cut short, or a page meant for people."""


class SourceThrottledError(RetriableError):
    """The source asked one request to wait longer than the run is ready to."""


class EngineUnavailableError(RetriableError):
    """A batch found no readable answer on any attempt that its retry policy allows."""


class EngineThrottledError(RetriableError):
    """The slotting engine asked one batch to wait longer than the run is ready to."""


class StoreUnavailableError(RetriableError):
    """The store is away, locked by another writer, or full."""


class ExportError(RetriableError):
    """A published window could not be written out. It stays published."""

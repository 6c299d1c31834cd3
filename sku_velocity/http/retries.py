"""How patiently one request is sent: which answers pass, how often it is tried, and how long in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from sku_velocity.errors import RetriableError

ATTEMPTS = 4
PATIENCE = 600.0  # seconds that one request may wait, altogether, because the other side asked it to
SHORTEST_WAIT = 1.0  # seconds; who asks for less, again and again, would be asked in a busy loop
TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

_backoff = wait_random_exponential(multiplier=2, min=2, max=10)


def attempts(error: type[RetriableError], sleep: Callable[[float], Awaitable[None]]) -> AsyncRetrying:
    """The attempts of one request: at most 4, where each but the last ended in such an error."""
    return AsyncRetrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=_wait,
        retry=retry_if_exception_type(error),
        sleep=sleep,
        reraise=True,
    )


def asked_wait(headers: Mapping[str, str], names: Iterable[str]) -> float:
    """Seconds that an answer asks to wait in the first of these headers that says; 0 where none does."""
    for name in names:
        if (seconds := _seconds(headers.get(name, ""))) > 0:
            return max(seconds, SHORTEST_WAIT)
    return 0.0


def _wait(state: RetryCallState) -> float:
    """Seconds to the next attempt: 2 to 10 with jitter, and never less than the other side asked for."""
    error = state.outcome.exception() if state.outcome else None
    return max(_backoff(state), error.wait if isinstance(error, RetriableError) else 0.0)


def _seconds(retry_after: str) -> float:
    """The value of a `Retry-After` header (RFC 9110, 10.2.3: seconds or a date) as seconds from now."""
    try:
        return float(retry_after)
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return 0.0
    return (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds()

"""The retry policy of one request: which statuses are transient, how many attempts, and how long to wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from sku_velocity.errors import RetriableError

ATTEMPTS = 4
MAX_WAIT = 600.0  # seconds that one request may wait in total because the server asked it to
SHORTEST_WAIT = 1.0  # seconds; repeated shorter waits would make a busy loop
TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

_backoff = wait_random_exponential(multiplier=2, min=2, max=10)


def attempts(error: type[RetriableError], sleep: Callable[[float], Awaitable[None]]) -> AsyncRetrying:
    """Return the attempts of one request: at most 4, with a retry after each such error."""
    return AsyncRetrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=_wait,
        retry=retry_if_exception_type(error),
        sleep=sleep,
        reraise=True,
    )


def requested_wait(headers: Mapping[str, str], names: Iterable[str]) -> float:
    """Return the seconds that a response asks to wait, from the first of these headers that says; else 0."""
    for name in names:
        if (seconds := _seconds(headers.get(name, ""))) > 0:
            return max(seconds, SHORTEST_WAIT)
    return 0.0


def _wait(state: RetryCallState) -> float:
    """Return the seconds to the next attempt: 2 to 10 with jitter, and at least what the server asked for."""
    error = state.outcome.exception() if state.outcome else None
    return max(_backoff(state), error.wait if isinstance(error, RetriableError) else 0.0)


def _seconds(retry_after: str) -> float:
    """Return a `Retry-After` value (RFC 9110, 10.2.3: seconds or a date) as seconds from now."""
    try:
        return float(retry_after)
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return 0.0
    return (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds()

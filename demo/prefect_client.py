"""An HTTP client of a Prefect server that may be busy."""

from __future__ import annotations

import time

import httpx

RETRY_SECONDS = 180.0  # how long a 503 from a server on SQLite is retried
TIMEOUT = 120.0  # seconds for one response; the server itself waits 60 s for its SQLite before a 503


def prefect_client(api_url: str) -> httpx.Client:
    """Return a client that retries while the server's SQLite is locked: a 503, without any effect.

    After 180 s the caller gets the 503.
    """
    return httpx.Client(base_url=api_url, timeout=TIMEOUT, trust_env=False, transport=_RetryingTransport())


class _RetryingTransport(httpx.HTTPTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            response = super().handle_request(request)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                return response
            response.close()
            time.sleep(0.5)

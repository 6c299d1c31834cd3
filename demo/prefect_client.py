"""A client of a Prefect server that may be busy."""

from __future__ import annotations

import time

import httpx

PATIENCE = 180.0  # seconds that a server on SQLite is waited for
TIMEOUT = 120.0  # seconds for one answer; the server itself waits 60 s for its SQLite before it says 503


def prefect_client(api_url: str) -> httpx.Client:
    """A client whose calls outlast a locked SQLite, which the server tells by 503 and has then done nothing.

    After 180 s the 503 is the caller's to see.
    """
    return httpx.Client(base_url=api_url, timeout=TIMEOUT, trust_env=False, transport=_Patient())


class _Patient(httpx.HTTPTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        deadline = time.monotonic() + PATIENCE
        while True:
            response = super().handle_request(request)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                return response
            response.close()
            time.sleep(0.5)

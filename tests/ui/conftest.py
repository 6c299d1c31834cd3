"""A browser for the UI tests, and the directory of their pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.prefect_server import PrefectServer
from tests.ui.browser import chromium, page_of
from tests.ui.pages import PrefectUi
from tests.ui.pictures import Take, picture_of

# Prefect's UI requests its analytics settings here, even with analytics disabled. It works without them.
ANALYTICS = "https://sr-client-cfg.amplitude.com/"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def ui(browser: Browser, prefect_server: PrefectServer) -> Iterator[PrefectUi]:
    """The UI of the session's server; it must work without requests to any other host."""
    address = prefect_server.api_url.removesuffix("/api")
    with page_of(browser, address) as (page, blocked):
        yield PrefectUi(page, address)
    assert [url for url in blocked if not url.startswith(ANALYTICS)] == []


@pytest.fixture
def take(ui: PrefectUi) -> Take:
    """Takes a picture of the page into the directory $PICTURES, or none if that is not set."""
    directory = os.environ.get("PICTURES")

    def take(name: str, height: int) -> None:
        if directory:
            picture_of(ui.page, height, Path(directory, f"{name}.png"))

    return take

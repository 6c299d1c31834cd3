"""A headless Chromium that reaches this machine alone: the one of the system, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from tests.support.chromium import CHROMIUM, MISSING

PATIENCE = 120_000  # milliseconds; a worker starts a process for each run
WIDTH, HEIGHT = 1280, 900

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with an empty profile of its own, gone at the end."""
    assert CHROMIUM, MISSING
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=PATIENCE)
        yield browser
        browser.close()


@contextmanager
def page_of(browser: Browser, address: str) -> Iterator[tuple[Page, set[str]]]:
    """A page that may ask below `address` alone, and the set of what else it asked for, in vain."""
    refused: set[str] = set()

    def guard(route: Route) -> None:
        if route.request.url.startswith(f"{address}/"):
            route.continue_()
        else:
            refused.add(route.request.url)
            route.abort()

    with browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light", locale="en-GB", timezone_id="UTC"
    ) as context:
        context.set_default_timeout(PATIENCE)
        context.route("**/*", guard)
        yield context.new_page(), refused
        context.unroute_all(behavior="ignoreErrors")

"""The system's headless Chromium, driven by Playwright, with access to this machine only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from tests.support.chromium import CHROMIUM, MISSING

TIMEOUT = 120_000  # milliseconds; a worker starts a process for each run
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
    """A browser with its own empty profile, closed at the end."""
    assert CHROMIUM, MISSING
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=TIMEOUT)
        yield browser
        browser.close()


@contextmanager
def page_of(browser: Browser, address: str) -> Iterator[tuple[Page, set[str]]]:
    """A page that may only request URLs below `address`, and the set of other URLs that were blocked."""
    blocked: set[str] = set()

    def guard(route: Route) -> None:
        if route.request.url.startswith(f"{address}/"):
            route.continue_()
        else:
            blocked.add(route.request.url)
            route.abort()

    with browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light", locale="en-GB", timezone_id="UTC"
    ) as context:
        context.set_default_timeout(TIMEOUT)
        context.route("**/*", guard)
        yield context.new_page(), blocked
        context.unroute_all(behavior="ignoreErrors")

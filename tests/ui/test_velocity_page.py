"""The page of a velocity report in a browser: sorted, searched, on a phone and in dark mode; no network."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from demo.prefect_client import prefect_client
from flows.artifacts.velocity import render_velocity
from sku_velocity.model.window import Window
from sku_velocity.steps.refresh_velocity import RefreshRequest, RefreshResult, refresh
from sku_velocity.store import Store
from tests.support.prefect_server import PrefectServer
from tests.support.published_store import Moved, publish
from tests.ui.pages import PrefectUi
from tests.ui.pictures import Take

AS_OF = date(2026, 4, 5)
SKUS = 250
HOSTILE = "</script><b>A & \"B\" 'C' \u202e" + "X" * 200


def a_warehouse() -> Iterator[Moved]:
    """Yield the movements of 249 SKUs on working days: the higher its number, the more; 27 SKUs are new."""
    chance = random.Random(1)
    days = [day for day in range(91) if (AS_OF - timedelta(days=day)).weekday() < 5]
    for number in range(1, SKUS):
        known = days if number >= 28 else [day for day in days if day < 27]
        for day in (known[-1], *chance.choices(known, k=number**3 // 60_000)):
            hour = min(max(int(chance.gauss(12, 3)), 5), 21)
            moment = datetime(AS_OF.year, AS_OF.month, AS_OF.day, hour, tzinfo=UTC) - timedelta(days=day)
            yield f"SKU-{number:03}", chance.randint(1, 9), moment


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RefreshResult:
    """Velocity of a warehouse with 250 SKUs, one of them hostile."""
    directory, hostile = tmp_path_factory.mktemp("reports"), (HOSTILE, 1, datetime(2026, 4, 5, 9, tzinfo=UTC))

    async def make() -> RefreshResult:
        async with Store.open(f"sqlite:///{directory}/store.db") as store:
            await publish(store, [*a_warehouse(), hostile], Window.everything())
            request = RefreshRequest("acme", "WH-01", AS_OF, directory=directory)
            return await refresh(store, request)

    with ThreadPoolExecutor(1) as pool:  # this thread has the browser's event loop
        return pool.submit(asyncio.run, make()).result()


@pytest.fixture
def page(browser: Browser, result: RefreshResult) -> Iterator[Page]:
    context = browser.new_context(offline=True, color_scheme="dark", viewport={"width": 390, "height": 844})
    errors: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(Path(result.report.files["html"]).as_uri())
    yield page
    context.close()
    assert errors == []


def first_cells(page: Page, count: int = 2) -> list[str]:
    return page.locator("#all tbody tr").locator("th").all_inner_texts()[:count]


def test_all_skus_can_be_sorted_searched_and_shown(page: Page) -> None:
    rows, count = page.locator("#all tbody tr"), page.locator("#count")
    expect(count).to_have_text(f"100 of {SKUS} SKUs shown")
    assert first_cells(page) == ["SKU-249", "SKU-248"]
    page.get_by_role("button", name="SKU", exact=True).click()
    assert first_cells(page) == [HOSTILE.strip(), "SKU-001"]
    page.get_by_role("button", name="SKU", exact=True).press("Enter")
    assert first_cells(page) == ["SKU-249", "SKU-248"]
    expect(page.locator("#all th[aria-sort=descending]")).to_have_count(1)
    for shown in (200, SKUS):
        page.get_by_role("button", name="Show more").click()
        expect(rows).to_have_count(shown)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    page.get_by_label("Search SKU").fill("sku-12")
    expect(rows).to_have_count(10)
    page.get_by_label("Search SKU").fill("")
    page.get_by_label("ABC class by lines").select_option("N")
    expect(count).to_have_text("28 of 28 SKUs shown")  # 27, and the hostile one


def test_it_is_readable_on_a_phone_and_in_dark_mode(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 25, 31)"
    colours = "[...document.querySelectorAll('.v-text')].map((each) => getComputedStyle(each).fill)"
    assert set(page.evaluate(colours)) == {"rgb(228, 231, 235)"}
    assert page.locator("svg[role=img]").count() == 3 and page.locator("b").count() == 0


def test_a_long_sku_leaves_room_for_its_figures_and_is_shown_whole(page: Page) -> None:
    page.get_by_label("Search SKU").fill("xxx")
    sku = page.locator("#all tbody th")
    assert sku.evaluate("(each) => each.offsetWidth < window.innerWidth / 2")
    assert sku.locator("bdi").evaluate("(each) => each.scrollWidth <= each.offsetWidth")


def test_the_head_and_the_skus_stay_in_sight_while_the_table_scrolls(page: Page) -> None:
    page.locator("#all .wide").evaluate(
        "(each) => { each.scrollIntoView(); each.scrollTop = 400; each.scrollLeft = 300 }"
    )
    for selector in ("#all thead th:first-child", "#all thead th:nth-child(7)"):
        seen = page.locator(selector).evaluate(
            "(each) => { const box = each.getBoundingClientRect();"
            "  return each.contains(document.elementFromPoint(box.x + box.width / 2, box.y + 9)) }"
        )
        assert seen, selector


def test_tables_scroll_by_keyboard(page: Page) -> None:
    region = page.get_by_role("region", name="All SKUs")
    region.press("End")
    page.wait_for_function("document.querySelector('#all .wide').scrollTop > 0")


def test_the_artifact_shows_the_charts_in_prefects_ui(
    result: RefreshResult, ui: PrefectUi, prefect_server: PrefectServer, take: Take
) -> None:
    data = render_velocity(result.report, result.charts)
    created = {"type": "markdown", "key": "velocity-charts", "data": data}
    with prefect_client(prefect_server.api_url) as api:
        artifact = api.post("/artifacts/", json=created).raise_for_status().json()["id"]
    ui.page.goto(f"{prefect_server.api_url.removesuffix('/api')}/artifacts/artifact/{artifact}")
    for title in result.charts:
        picture = ui.page.get_by_role("img", name=title)
        expect(picture).to_be_visible()
        assert picture.evaluate("(each) => each.naturalWidth") > 0
    take("velocity", 1800)

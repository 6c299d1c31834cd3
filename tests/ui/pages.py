"""The pages of the Prefect UI that an operator uses, by mouse and keyboard only."""

from __future__ import annotations

import re
from collections import Counter

from playwright.sync_api import Locator, Page, expect

CHOSEN = ("aria-selected", "true")


class PrefectUi:
    """A browser tab with the Prefect UI, in the server's default version."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.main = page.locator("main")
        self._address = address

    def open_custom_run(self, deployment: str) -> None:
        """Navigate from the first page to the form of a run with custom parameters."""
        self.page.goto(f"{self._address}/")
        self.page.get_by_role("link", name="Deployments", exact=True).click()
        # A row also links to its flow, which may have the same name.
        links = self.main.get_by_role("row").locator('a[href*="/deployments/"]')
        links.filter(has_text=re.compile(rf"^{deployment}$")).first.click()
        self.main.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Custom run").click()

    def parameter(self, name: str) -> Locator:
        """Return a parameter's part of the form: its name, its description and its field."""
        label = self.page.get_by_text(re.compile(rf"^{name}( \(Optional\))?$"))
        return self.main.locator("div.group").filter(has=label)

    def field(self, name: str) -> Locator:
        """Return a parameter's input field or list box."""
        return self.parameter(name).locator("input, textarea, [aria-haspopup=listbox]")

    def expect_value(self, name: str, value: object) -> None:
        """Check the value of a parameter's field; None if the form says that it has no value."""
        if value is None:
            expect(self.parameter(name).get_by_role("tab", name="None")).to_have_attribute(*CHOSEN)
        elif isinstance(value, bool):
            expect(self.field(name)).to_be_checked(checked=value)
        elif self.field(name).get_attribute("aria-haspopup") == "listbox":
            expect(self.field(name)).to_have_text(str(value))
        else:
            expect(self.field(name)).to_have_value(str(value))

    def fill(self, name: str, text: str) -> None:
        """Type into a parameter's field, replacing its value."""
        self.field(name).click()
        self.page.keyboard.press("ControlOrMeta+A")
        self.page.keyboard.type(text)

    def submit(self) -> str:
        """Start the run that the form describes, open its page, and return its id."""
        for _ in range(5):  # a server on SQLite that is busy answers 503, and the form stays open
            with self.page.expect_response(re.compile("/create_flow_run$")) as answer:
                self.main.get_by_role("button", name="Submit").click()
            if answer.value.status < 500:
                break
        assert answer.value.ok, answer.value.text()
        run: str = answer.value.json()["id"]
        self.page.locator(f'a[href*="{run}"]').first.click()
        return run

    def wait_for_state(self, name: str) -> None:
        """Wait until the run's page shows this state without a reload."""
        expect(self.main.get_by_text(name, exact=True).first).to_be_visible()

    def open_tab(self, name: str) -> Locator:
        self.main.get_by_role("tab", name=name, exact=True).click()
        return self.main.get_by_role("tabpanel", name=name, exact=True)

    def task_runs(self, count: int, states: str) -> tuple[Counter[str], Counter[str]]:
        """Return the run's task runs by name: all of them, and those that failed."""
        panel = self.open_tab("Task Runs")
        expect(panel).to_contain_text(f"{count} Task runs")
        expect(panel).to_contain_text(states)
        rows = panel.get_by_role("listitem").filter(has_text=re.compile("Completed|Failed"))
        expect(rows).to_have_count(count)
        failed = rows.filter(has_text="Failed")
        return names_of(rows), names_of(failed)

    def artifacts(self, text: str | re.Pattern[str]) -> Locator:
        """Return the cards of the run's artifacts that contain a text."""
        return self.open_tab("Artifacts").get_by_role("link").filter(has_text=text)

    def open_last_of_key(self) -> None:
        """Navigate from the history of a key to its last artifact."""
        self.main.locator('a[href*="/artifacts/artifact/"]').first.click()

    def retry(self) -> None:
        """Retry a failed run as an operator does: open the menu, click Retry, confirm."""
        self.main.get_by_role("button", name="Open menu").click()
        self.page.get_by_role("menuitem", name="Retry").click()
        dialog = self.page.get_by_role("alertdialog")
        dialog.get_by_role("button", name="Retry").click()
        expect(dialog).to_be_hidden()


def names_of(rows: Locator) -> Counter[str]:
    return Counter(rows.locator('a[href*="/runs/task-run/"]').all_inner_texts())

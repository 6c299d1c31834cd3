"""docs/events.md lists each event and each automation of `notify`."""

from __future__ import annotations

import re

from flows.artifacts.events import PAYLOADS
from flows.runtime.notifications import notifications
from tests.support.checkout import CHECKOUT

PAGE = (CHECKOUT / "docs" / "events.md").read_text()


def test_each_event_is_listed() -> None:
    listed = re.findall(r"^\| `(sku-velocity\..+?)` \|", PAGE, re.MULTILINE)
    assert listed == list(dict.fromkeys(payload.EVENT for payload in PAYLOADS))


def test_each_automation_is_listed() -> None:
    listed = re.findall(r"^\| `(sku-velocity: .+?)` \|", PAGE, re.MULTILINE)
    assert listed == [each.name for each in notifications(26)]

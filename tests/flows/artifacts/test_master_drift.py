"""Differences between two master versions, and how they are shown."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from flows.artifacts.master_drift import SHOWN, render_changes, render_unknown
from sku_velocity.model.master import MasterChanges, Names, compare
from sku_velocity.model.run import MasterVersion, UnknownSku
from tests.support.reports import REPORT

BY_ERP = REPORT.model_copy(update={"master": MasterVersion(source="erp", version="v-1")})


def test_a_name_that_now_means_another_item_or_none_is_drift() -> None:
    before = Names({"A": "A", "x": "A", "y": "A", "B": "B"}, {})
    now = Names({"A": "A", "x": "B", "new": "A"}, {"B": "B"})
    assert compare(before, now) == MasterChanges([("x", "A", "B")], [("y", "A")], ["B"], 1)


def test_only_new_names_are_not_drift() -> None:
    changes = compare(Names({"A": "A"}, {}), Names({"A": "A", "x": "A"}, {"B": "B"}))
    assert changes.added == 2 and not changes.is_drift


names = st.builds(
    lambda active, retired: Names({k: v for k, v in active.items() if k not in retired}, retired),
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("XYZ")),
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("UVW")),
)


@given(names, names)
def test_a_name_not_reported_as_changed_keeps_its_meaning(before: Names, now: Names) -> None:
    changes = compare(before, now)
    then, today = before.active | before.retired, now.active | now.retired
    reported = {name for name, *_ in changes.moved} | {name for name, _ in changes.gone}
    assert all(then[name] == today[name] for name in then.keys() - reported)
    assert len(then) + changes.added - len(changes.gone) == len(today)


def test_unknown_skus_are_escaped_and_shown_by_movements() -> None:
    unknown = Counter({"few": 1, "<b>many</b>": 7})
    shown = render_unknown(BY_ERP, unknown)
    assert (
        shown.startswith(r"# 2 SKUs of WH\-01 are not in the master erp")
        and "8 movements were rejected" in shown
    )
    rows = shown.splitlines()[-2:]
    assert "many" in rows[0] and "<b>" not in shown and rows[1] == "| few | 1 |"


def test_skus_that_passed_are_reported_as_passed() -> None:
    passing = MasterVersion(source="erp", version="v-1", unknown_sku=UnknownSku.PASS)
    report = REPORT.model_copy(update={"master": passing})
    assert "Their 1 movements were passed through" in render_unknown(report, Counter({"A": 1}))


def test_a_long_list_is_truncated_with_a_note() -> None:
    many = Counter({f"S{n}": n for n in range(1, SHOWN + 4)})
    assert render_unknown(BY_ERP, many).endswith("and 3 more")
    gone = [(f"S{n}", "A") for n in range(SHOWN + 1)]
    shown = render_changes("erp", "v-2", MasterChanges(gone=gone))
    assert shown.endswith("and 1 more") and "another item" not in shown

"""Charts of velocity as SVG: they follow the reader's light or dark mode and need nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from sku_velocity.velocity.demand import ADI_BORDER, CV2_BORDER

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
POINTS = 300  # per curve: more are not visible
WIDTH, HEIGHT = 560, 360
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 34, 42  # margins around the plot
STYLE = """
.v-paper{fill:#f5f7fa}.v-text{fill:#1f2933;font:12px system-ui,sans-serif}
.v-over{paint-order:stroke;stroke:#f5f7fa;stroke-width:4px;stroke-linejoin:round}.v-title{font-weight:600;font-size:14px}
.v-axis{stroke:#9aa5b1;fill:none}.v-border{stroke:#7b8794;stroke-dasharray:3 3;fill:none}
.v-lines{stroke:#0b6bcb;fill:none;stroke-width:2.2}.v-units{stroke:#c2620a;fill:none;stroke-width:2.2}
.v-heat{fill:#c2410c}.v-cell{fill:#0b6bcb}.v-none{fill:#d5d9de}.v-frame{fill:none;stroke:#d5d9de}
@media (prefers-color-scheme:dark){.v-paper{fill:#1f2933}.v-over{stroke:#1f2933}
.v-text{fill:#e4e7eb}.v-axis{stroke:#616e7c}.v-border{stroke:#9aa5b1}
.v-lines{stroke:#63b3ff}.v-units{stroke:#f6a55b}.v-heat{fill:#fb923c}.v-cell{fill:#63b3ff}
.v-none{fill:#3e4c59}.v-frame{stroke:#3e4c59}}
"""

Shares = npt.NDArray[np.float64]


def pareto_curve(amounts: Sequence[int]) -> tuple[Shares, Shares]:
    """Return the share of the SKUs, busiest first, and the share of the total they reach; from 0 to 1."""
    ranked = np.sort(np.asarray(amounts, dtype=np.float64))[::-1]
    total = ranked.sum()
    if not total:
        return np.array([0.0, 1.0]), np.array([0.0, 0.0])
    reached = np.concatenate([[0.0], np.cumsum(ranked) / total])
    # Closer together at the beginning, where the curve bends.
    places = np.unique(np.round(np.linspace(0, 1, POINTS) ** 2 * len(ranked)).astype(int))
    return places / len(ranked), reached[places]


def pareto_chart(lines: Sequence[int], units: Sequence[int], borders: Sequence[float]) -> str:
    """Draw the Pareto curves of lines and units over 91 days, with the borders of the classes."""
    parts = [_axes("% of the SKUs, busiest first", "% reached")]
    for share, name in zip(borders, "AB", strict=True):
        parts.append(f'<path class="v-border" d="M{_x(0)} {_y(share)}H{_x(1)}"/>')
        parts.append(_text(_x(1) - 4, _y(share) + 13, f"{name} to {100 * share:g} %", "end"))
    for number, (amounts, name) in enumerate(((lines, "lines"), (units, "units"))):
        points = " ".join(f"{_x(a)},{_y(b)}" for a, b in zip(*pareto_curve(amounts), strict=True))
        at = _y(0.14 - 0.07 * number)
        parts.append(f'<polyline class="v-{name}" points="{points}"/>')
        parts.append(f'<path class="v-{name}" d="M{_x(0.78)} {at - 4}h22"/>{_text(_x(0.78) + 28, at, name)}')
    return _svg("Pareto curve, 91 days", parts)


def demand_chart(adi: Sequence[float], cv2: Sequence[float], counts: Sequence[tuple[str, int]]) -> str:
    """Draw how many SKUs have which interval between days with demand (ADI) and which CV².

    `counts` are those of smooth, erratic, intermittent and lumpy. Values beyond an axis are in its last cell.
    """
    across, up, longest, largest = 36, 24, 91.0, 4.0
    known = ~np.isnan(np.asarray(adi, dtype=np.float64)) & ~np.isnan(np.asarray(cv2, dtype=np.float64))
    x = np.log(np.clip(np.asarray(adi)[known], 1, longest)) / np.log(longest)
    y = np.sqrt(np.clip(np.asarray(cv2)[known], 0, largest) / largest)
    cells, *_ = np.histogram2d(x, y, bins=(across, up), range=((0, 1), (0, 1)))
    parts = [
        _frame(),
        _axis_titles("ADI: open days between days with demand (log)", "CV² of their units (root)"),
    ]
    most = float(np.log1p(cells.max())) or 1.0
    wide, high = (_x(1) - _x(0)) / across, (_y(0) - _y(1)) / up
    for column, row in zip(*np.nonzero(cells), strict=True):
        shade = 0.15 + 0.85 * np.log1p(cells[column, row]) / most
        place = f'x="{_x(0) + column * wide:.1f}" y="{_y(0) - (row + 1) * high:.1f}"'
        size = f'width="{wide:.1f}" height="{high:.1f}" fill-opacity="{shade:.2f}"'
        parts.append(
            f'<rect class="v-cell" {place} {size}><title>{int(cells[column, row])} SKUs</title></rect>'
        )
    border_x, border_y = np.log(ADI_BORDER) / np.log(longest), np.sqrt(CV2_BORDER / largest)
    parts.append(
        f'<path class="v-border" d="M{_x(border_x)} {_y(0)}V{_y(1)}M{_x(0)} {_y(border_y)}H{_x(1)}"/>'
    )
    parts += [
        _text(_x(np.log(days) / np.log(longest)), HEIGHT - BOTTOM + 16, str(days), "middle")
        for days in (1, 2, 5, 10, 30, 91)
    ]
    parts += [
        _text(LEFT - 6, _y(np.sqrt(value / largest)) + 4, f"{value:g}", "end")
        for value in (0.0, 0.5, 1.0, 2.0, 4.0)
    ]
    places = {
        "smooth": (0.01, 0.02),
        "erratic": (0.01, 0.95),
        "intermittent": (0.99, 0.02),
        "lumpy": (0.99, 0.95),
    }
    for name, number in counts:
        right, top = places[name]
        anchor = "start" if right < 0.5 else "end"
        parts.append(_text(_x(right), _y(top), f"{name}: {number:,}", anchor, " v-over"))
    return _svg("Demand: intervals and unevenness", parts)


def week_chart(units: Sequence[int], hours: Sequence[float]) -> str:
    """Draw a heat map of units per hour over the local week; hours never published are grey.

    `units` were moved in `hours` published hours, both for each of the 168 hours from Monday 00:00.
    """
    moved, published = (np.asarray(values, dtype=np.float64) for values in (units, hours))
    rates = np.divide(moved, published, out=np.full(len(moved), np.nan), where=published > 0)
    most = np.nanmax(rates) if not np.isnan(rates).all() else 0.0
    wide, high = (_x(1) - _x(0)) / 24, (_y(0) - _y(1)) / 7
    parts = []
    for index, rate in enumerate(rates):
        day, hour = divmod(index, 24)
        place = f'x="{_x(0) + hour * wide:.1f}" y="{_y(1) + day * high:.1f}"'
        place += f' width="{wide - 1:.1f}" height="{high - 1:.1f}"'
        title = "not published" if np.isnan(rate) else f"{rate:,.1f} units an hour"
        look = (
            'class="v-none"'
            if np.isnan(rate)
            else f'class="v-heat" fill-opacity="{rate / most if most else 0:.2f}"'
        )
        parts.append(f"<rect {place} {look}><title>{WEEKDAYS[day]} {hour:02}:00: {title}</title></rect>")
    for day, name in enumerate(WEEKDAYS):
        parts.append(_text(LEFT - 6, _y(1) + (day + 0.6) * high, name, "end"))
    parts += [
        _text(_x(0) + (hour + 0.5) * wide, HEIGHT - BOTTOM + 16, f"{hour:02}", "middle")
        for hour in range(0, 24, 3)
    ]
    legend = f"hour of the day, local time; full colour: {most:,.0f} units an hour"
    parts.append(_text(_x(0.5), HEIGHT - 8, legend, "middle"))
    return _svg("Units per hour over the week", parts)


def _svg(title: str, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
    # With its own background: a page may be dark although the system is light, as Prefect's can.
    paper = f'<rect class="v-paper" width="{WIDTH}" height="{HEIGHT}"/>'
    body = f"<style>{STYLE}</style>{paper}{_text(LEFT, 20, title, more=' v-title')}{''.join(parts)}"
    return f'{head} aria-label="{escape(title)}">{body}</svg>'


def _x(share: float) -> float:
    return round(LEFT + float(share) * (WIDTH - LEFT - RIGHT), 1)


def _y(share: float) -> float:
    return round(HEIGHT - BOTTOM - float(share) * (HEIGHT - TOP - BOTTOM), 1)


def _text(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="v-text{more}" {place}>{escape(text)}</text>'


def _frame() -> str:
    return f'<rect class="v-frame" x="{_x(0)}" y="{_y(1)}" width="{_x(1) - _x(0)}" height="{_y(0) - _y(1)}"/>'


def _axes(across: str, up: str) -> str:
    """Draw axes in per cent."""
    ticks = [
        _text(_x(share / 100), HEIGHT - BOTTOM + 16, str(share), "middle") for share in range(0, 101, 20)
    ]
    ticks += [_text(LEFT - 6, _y(share / 100) + 4, str(share), "end") for share in range(0, 101, 20)]
    lines = f'<path class="v-axis" d="M{_x(0)} {_y(1)}V{_y(0)}H{_x(1)}"/>'
    return lines + "".join(ticks) + _axis_titles(across, up)


def _axis_titles(across: str, up: str) -> str:
    middle = (_y(0) + _y(1)) / 2
    turned = f'<g transform="rotate(-90 12 {middle})">{_text(12, middle, up, "middle")}</g>'
    return _text((_x(0) + _x(1)) / 2, HEIGHT - 8, across, "middle") + turned

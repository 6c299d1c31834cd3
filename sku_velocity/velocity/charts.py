"""Charts of velocity: the Pareto curve, and units per hour over the week; no display needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
POINTS = 400  # per curve: more are not visible
INK, LINES, UNITS, NOT_PUBLISHED = "#1f2933", "#0b6bcb", "#d9822b", "#d5d9de"

Shares = npt.NDArray[np.float64]
Draw = Callable[[Axes], None]


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


def pareto_picture(lines: Sequence[int], units: Sequence[int], thresholds: Sequence[float]) -> Draw:
    """Return a chart of the Pareto curves of lines and units over 91 days, with the class thresholds."""

    def draw(axes: Axes) -> None:
        for amounts, name, colour in ((lines, "lines", LINES), (units, "units", UNITS)):
            skus, reached = pareto_curve(amounts)
            axes.plot(100 * skus, 100 * reached, color=colour, label=name, linewidth=2)
        for share, name in zip(thresholds, "ABC", strict=False):
            axes.axhline(100 * share, color=INK, linewidth=0.7, linestyle=":")
            axes.annotate(f"{name} to {100 * share:g} %", (100, 100 * share), (-2, -9), ha="right", size=8,
                          textcoords="offset points")  # fmt: skip
        axes.set(xlim=(0, 100), ylim=(0, 101), xlabel="% of the SKUs, busiest first", ylabel="% reached")
        axes.set_title("Pareto curve, 91 days")
        axes.legend(loc="lower right", frameon=False)

    return draw


def week_picture(units: Sequence[int], hours: Sequence[float]) -> Draw:
    """Return a heat map of units per hour over the local week; hours never published are grey.

    `units` were moved in `hours` published hours, both for each of the 168 hours from Monday 00:00.
    """
    moved, published = (np.asarray(values, dtype=np.float64).reshape(7, 24) for values in (units, hours))
    rates = np.ma.masked_where(published == 0, moved / np.where(published == 0, 1, published))

    def draw(axes: Axes) -> None:
        axes.set_facecolor(NOT_PUBLISHED)
        image = axes.pcolormesh(rates, cmap="YlOrRd", vmin=0, edgecolors="white", linewidth=0.4)
        axes.invert_yaxis()
        axes.set_xticks(np.arange(0, 24, 3) + 0.5, [f"{hour:02}" for hour in range(0, 24, 3)])
        axes.set_yticks(np.arange(7) + 0.5, WEEKDAYS)
        axes.tick_params(length=0)
        axes.set(xlabel="hour of the day, local time")
        axes.set_title("Units per hour over the week")
        axes.figure.colorbar(image, ax=axes, pad=0.02)

    return draw


def as_svg(draw: Draw) -> str:
    """Render a chart as a self-contained SVG element: text as outlines, no links."""
    text = _save(draw, "svg").decode()
    return text[text.index("<svg") :]


def as_png(draw: Draw) -> bytes:
    """Render a chart as a PNG of 560 x 360 pixels."""
    return _save(draw, "png")


def _save(draw: Draw, kind: str) -> bytes:
    figure = Figure(
        figsize=(5.6, 3.6), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1), facecolor="white"
    )  # inches
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    output = BytesIO()
    # Without a date, the same figures yield the same bytes.
    figure.savefig(output, format=kind, dpi=100, metadata={"Date": None} if kind == "svg" else None)
    return output.getvalue()

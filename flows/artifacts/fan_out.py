"""The artifact of a fan-out: a table of its runs."""

from __future__ import annotations

from typing import Any

from prefect.artifacts import acreate_table_artifact
from prefect.utilities.urls import url_for

from flows.artifacts.markdown import escape, ignoring_artifact_errors
from sku_velocity.model.window import Window
from sku_velocity.output.names import artifact_key
from sku_velocity.steps.fan_out import FanOutReport
from sku_velocity.text import shorten


def render_fan_out(report: FanOutReport) -> list[dict[str, Any]]:
    """Render a fan-out as a table: one row per warehouse and shard, with a link to its flow run."""
    return [
        {
            "warehouse": escape(shard.warehouse),
            "window": str(Window(shard.start, shard.end)),
            "verdict": shard.verdict or "none",
            "state": shard.state,
            "rows": shard.loaded,
            "rejects": shard.rejected,
            "seconds": shard.seconds,
            "message": escape(shorten(shard.message)),
            "run": _link_to_run(shard.flow_run_id),
        }
        for shard in report.shards
    ]


def _link_to_run(run: str | None) -> str:
    """Return a link to a flow run in the UI, or its bare id if the UI's address is unknown."""
    url = run and url_for("flow-run", obj_id=run)
    return f"[{run}]({url})" if url else run or ""


async def publish_fan_out(report: FanOutReport) -> None:
    """Publish the table of a fan-out under its source's stable key."""
    left = f"{len(report.left)} of {len(report.shards)} are not published"
    with ignoring_artifact_errors():
        await acreate_table_artifact(
            render_fan_out(report), key=artifact_key("warehouses", report.source), description=left
        )

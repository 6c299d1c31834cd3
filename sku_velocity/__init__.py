"""SKU movements from WMS and ERP APIs, proven whole, for warehouse slotting.

report = await sku_velocity.sync_window(
    "acme.yaml",
    token=os.environ["ACME_TOKEN"],
    store="sqlite:///velocity.db",
    warehouse="WH-01",
    window=sku_velocity.Window(start, end),
)
assert report.published, report.checks
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sku_velocity.api import sync_window
    from sku_velocity.errors import (
        ConfigurationError,
        IncompleteWindowError,
        RetriableError,
        SpecError,
        VelocityError,
    )
    from sku_velocity.model.movement import Movement
    from sku_velocity.model.run import RunReport, Verdict
    from sku_velocity.model.window import Window
    from sku_velocity.source.spec import SourceSpec, load_spec
    from sku_velocity.store import Store

__all__ = [
    "ConfigurationError",
    "IncompleteWindowError",
    "Movement",
    "RetriableError",
    "RunReport",
    "SourceSpec",
    "SpecError",
    "Store",
    "VelocityError",
    "Verdict",
    "Window",
    "load_spec",
    "sync_window",
]

_MODULES = {
    "sync_window": "sku_velocity.api",
    "Movement": "sku_velocity.model.movement",
    "RunReport": "sku_velocity.model.run",
    "Verdict": "sku_velocity.model.run",
    "Window": "sku_velocity.model.window",
    "SourceSpec": "sku_velocity.source.spec",
    "load_spec": "sku_velocity.source.spec",
    "Store": "sku_velocity.store",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is used: a command needs few of them, and starts faster without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "sku_velocity.errors")), name)

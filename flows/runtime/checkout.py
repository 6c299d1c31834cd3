"""The pull step of the deployments."""

import os
from pathlib import Path


def enter_checkout() -> dict[str, str]:
    """Work in the checkout that the worker's environment is installed from.

    So a deployment holds no path: each worker has a checkout of its own, wherever it likes.
    """
    directory = Path(__file__).resolve().parents[2]
    os.chdir(directory)
    return {"directory": str(directory)}

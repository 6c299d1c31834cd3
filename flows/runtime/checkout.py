"""The pull step of the deployments."""

import os
from pathlib import Path


def enter_checkout() -> dict[str, str]:
    """Change to the checkout that the worker's environment is installed from.

    So a deployment contains no path, and each worker may have its own checkout anywhere.
    """
    directory = Path(__file__).resolve().parents[2]
    os.chdir(directory)
    return {"directory": str(directory)}

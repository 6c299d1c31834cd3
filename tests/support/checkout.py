"""The directory that the project is checked out in."""

from pathlib import Path

CHECKOUT = Path(__file__).parents[2]

"""Velocity figures, and how they are shown."""

"""Velocity figures, and their charts, files and report page."""

"""Shared test support: simulated systems, servers, spec files and stores."""

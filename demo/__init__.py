"""The main job against simulated systems, a Prefect server and a worker of its own: `make demo`."""

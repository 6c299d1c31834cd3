"""`make demo`: the main job against simulated systems, with its own Prefect server and worker."""

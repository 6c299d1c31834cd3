"""The verbs of the pipeline: each takes values, a reader and a store."""

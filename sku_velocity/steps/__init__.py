"""The steps of the pipeline. Each takes values, a reader and a store."""

"""The values of the pipeline: no effects, no imports of other packages."""

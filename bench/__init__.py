"""Figures of the pipeline, measured by real builds. See `bench.chain`."""

"""Rows x seeds of a config: planned, run, kept as one small file a run, and read."""

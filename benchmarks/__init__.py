"""Ratios of two runs in one process, and scores against labelled or golden data."""

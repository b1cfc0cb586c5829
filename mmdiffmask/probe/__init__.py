"""Frozen features and convex heads on them."""

"""The one on-disk schema: its fields, shards, manifest and checks."""

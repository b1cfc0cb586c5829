"""Plans to a folder of records: clips, shards, workers."""

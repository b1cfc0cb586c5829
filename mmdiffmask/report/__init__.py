"""Pictures, curves, tables, one HTML page."""

"""What to mask: units, weights, draws, replacement."""

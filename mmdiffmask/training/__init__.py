"""Continued pretraining: losses, steps, loop, checkpoints."""

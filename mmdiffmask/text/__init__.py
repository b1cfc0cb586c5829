"""Masks of a corpus of texts: what words weigh, what is hidden, files of it."""

"""Records on disk, tokenizers, batches."""

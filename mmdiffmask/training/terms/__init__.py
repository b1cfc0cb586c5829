"""Terms of the loss, one a file: each by itself, not weighted."""

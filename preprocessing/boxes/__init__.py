"""Pictures to boxes, their tracks and the patches that they cover."""

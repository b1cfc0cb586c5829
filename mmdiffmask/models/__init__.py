"""Models: a folder for each family; what they share lies beside them."""

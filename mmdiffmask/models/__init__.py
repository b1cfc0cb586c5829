"""MERLOT-Reserve in Flax."""

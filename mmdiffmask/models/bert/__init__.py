"""BERT and RoBERTa in Flax."""

"""MERLOT-Reserve, masked by what makes a domain different: data, model, training."""

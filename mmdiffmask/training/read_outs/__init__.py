"""What is read out of a frozen MERLOT-Reserve: features of clips and of questions."""

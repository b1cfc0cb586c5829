"""Raw downloads and loose videos to plans: which clips, which questions."""

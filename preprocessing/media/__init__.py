"""Video, sound and subtitle files to pictures, log-mel values and text."""

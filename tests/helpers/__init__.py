"""What several tests share: raw trees, small models, made-up runs."""

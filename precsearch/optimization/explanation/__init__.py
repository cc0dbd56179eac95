"""What a run concludes, in sentences."""

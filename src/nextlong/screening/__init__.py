"""What should not be in a pool: copies of chunks that it has already, and text of evaluation data. Pure functions."""

"""Looking at what was made: figures, one sequence, where a text went."""

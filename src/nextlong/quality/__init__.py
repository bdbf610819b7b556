"""Whether a finished dataset is any good, as far as its sequences and a small language model can tell."""

"""Exports: rows made anew from the sequences of finished datasets, packed, mixed, or for another tokenizer."""

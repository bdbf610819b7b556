"""Tokenizers, and joins that are exact."""

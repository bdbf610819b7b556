"""Long-context training data from short documents by negative document extension (NExtLong, ICML 2025)."""

__version__ = "0.1.0"

"""Proving the invariants of what was written."""

"""Output formats: one file each, with write and read."""

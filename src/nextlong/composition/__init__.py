"""How chunks become sequences: one file per method."""

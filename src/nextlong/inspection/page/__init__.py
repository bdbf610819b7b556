"""The page of ``nextlong inspect --html``: one file that needs nothing else."""

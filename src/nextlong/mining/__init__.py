"""Which neighbours of a meta-chunk become its hard negatives."""

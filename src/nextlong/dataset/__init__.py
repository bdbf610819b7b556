"""Datasets: root documents drawn from a pool, mined, composed and written."""

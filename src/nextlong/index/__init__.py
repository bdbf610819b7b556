"""Vector indexes: the chunks nearest to a chunk, exactly (`flat`) or approximately (`ivf`), always the same ones.

>>> vectors = VectorShards(sorted(folder.glob("*.npy")))        # doctest: +SKIP
>>> scores, ordinals = FlatIndex(vectors).search(vectors.take(ordinals_of_meta_chunks), k=200)     # doctest: +SKIP
"""

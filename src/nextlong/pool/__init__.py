"""The pool: documents, chunks, vectors and index, made once per corpus."""

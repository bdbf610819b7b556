"""What lies where in a pool folder."""

from __future__ import annotations

DESCRIPTION = "pool.yaml"  # written last: a pool without it is not finished
CHECKSUMS = "checksums.json"
DOCUMENTS = "documents"
CHUNKS = "chunks"
REJECTS = "rejects"
CATALOG = "catalog"
FINGERPRINTS = "fingerprints"
ENCODER = "encoder"
VECTORS = "vectors"
INDEX = "index"
# Where documents, chunks and fingerprints lie as they were read, in a pool from which some are dropped.
INGESTED = "ingested"
COPIES = "screening/copies"  # which chunks are copies of which, as found
EVALUATION = "screening/evaluation"  # the runs of words of evaluation data, and where they are from
MATCHES = "screening/matches"  # where they stand in the corpus
REPORT = "screening/report"  # what was dropped or only reported, and why
SCREENING = "screening"
MADE = (  # by the tasks of `nextlong index`
    *(DOCUMENTS, CHUNKS, REJECTS, CATALOG, FINGERPRINTS, ENCODER, VECTORS, INDEX),
    *(f"{INGESTED}/{name}" for name in (DOCUMENTS, CHUNKS, FINGERPRINTS)),
    *(EVALUATION, MATCHES, COPIES, REPORT),
)
TOKENS = "tokens"
DERIVED = "derived"  # what some methods need, made when first asked for

# Shards are cut at document borders when they hold this many characters: some 8,000 chunks, which an encoder of any
# speed does in seconds to minutes, so that a kill loses little and all cores have work.
SHARD_CHARACTERS = 1 << 24
# And at so many documents, which while a shard fills take some 500 bytes each, however short they are.
SHARD_DOCUMENTS = 1 << 17
# Sources are read together, in one task, as long as they have no more bytes than this: compressed, about a shard.
SOURCE_GROUP_BYTES = 1 << 22

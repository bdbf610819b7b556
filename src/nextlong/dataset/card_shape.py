"""What ``dataset.yaml`` holds, of a dataset and of an export, as far as anything relies on it."""

from __future__ import annotations

from nextlong.execution.shapes import Shape

_TOKENIZER: Shape = {
    "name": str,
    "fingerprint": str,
    "vocabulary_size": int,
    "bos_id": int | None,
    "eos_id": int | None,
    "reversible": bool,
    "exact_joins": bool,
}
_POOL: Shape = {"id": str, "folder": str, "config": {"corpus": {"inputs": [str]}}}

DATASET: Shape = {
    "id": str,
    "nextlong": str,
    "config": {None: object},
    "tokenizer": _TOKENIZER,
    "pool": _POOL,
    "counts": {"sequences": int, "tokens": int, None: int},
    "similarity_by_rank": {None: float},
    "candidates_passed_over": {None: int},
    "documents_passed_over": {None: int},
}

EXPORT: Shape = {
    "id": str,
    "kind": str,
    "nextlong": str,
    "config": {"length": int, "format": str, "tokenizer": str, "license": str},
    "tokenizer": _TOKENIZER,
    "pool": dict | None,
    "parts": [
        {
            "name": str,
            "weight": float,
            "dataset": {"id": str, "folder": str},
            "config": {None: object},
            "pool": _POOL,
            "retokenized": bool,
            "sequence_length": int,
            "sequences_per_row": int,
            "counts": dict.fromkeys(("sequences", "rows", "used", "too_short", "left_over", "tokens_wasted"), int),
        }
    ],
    "counts": {"rows": int, "sequences": int, "tokens": int, "dropped": int},
}

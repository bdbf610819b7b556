"""What Megatron reads from prefixes: its IndexedDataset, and its GPTDataset as a training gets it.

The argument is a JSON list of the arguments of calls of ``sequences`` and ``samples``: the import takes seconds.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
from megatron.core.datasets.indexed_dataset import IndexedDataset


class Tokenizer:
    """All that GPTDataset asks of a tokenizer."""

    def __init__(self, eod, vocab_size):
        self.eod = eod
        self.vocab_size = vocab_size
        self.unique_identifiers = {"eod": eod}


def sequences(prefix, mmap=True):
    """All sequences, one by one and as a slice, which is read by the pointer of the first and all lengths."""
    dataset = IndexedDataset(prefix, mmap=mmap)
    return {
        "dtype": np.dtype(dataset.index.dtype).name,
        "documents": dataset.document_indices.tolist(),
        "sequences": [dataset[number].tolist() for number in range(len(dataset))],
        "slice": [each.tolist() for each in dataset[0 : len(dataset)]],
    }


def samples(prefix, length, eod, count=None, vocabulary_size=None, counted=False, **options):
    """Samples of the training split, in the order before they are shuffled.

    Args:
        prefix, length, eod, count: the dataset, the tokens of a sample, the end token, the samples to draw.
        vocabulary_size, counted: take the number of rows from a file of counts and their type from the vocabulary's size.
        options: more of GPTDatasetConfig.
    """
    rows = len(IndexedDataset(prefix))
    defaults = {"reset_position_ids": False, "reset_attention_mask": False, "eod_mask_loss": False}
    config = GPTDatasetConfig(
        random_seed=7,
        blend=([prefix], None),
        split="1,0,0",
        sequence_length=length,
        tokenizer=Tokenizer(eod, vocabulary_size),
        sequences_per_dataset={prefix: (rows, rows + 1)} if counted else None,
        **(defaults | options),
    )
    sizes = [count, 0, 0] if count else [None, None, None]
    dataset = BlendedMegatronDatasetBuilder(GPTDataset, sizes, lambda: True, config).build()[0]
    order = np.argsort(dataset.shuffle_index)
    return {
        "order": dataset.document_index.tolist(),
        "starts": dataset.sample_index.tolist(),
        "samples": [shown(dataset[int(place)]) for place in order],
    }


def shown(sample):
    # In Megatron's mask True hides. Every token sees an unbroken stretch that ends at itself: where does it begin?
    visible = ~sample["attention_mask"][0].numpy()
    seen_from = visible.argmax(axis=1)
    own = np.arange(len(visible))
    assert (visible == ((own >= seen_from[:, None]) & (own <= own[:, None]))).all()
    return {
        "tokens": sample["tokens"].tolist(),
        "labels": sample["labels"].tolist(),
        "unlearned": np.flatnonzero(sample["loss_mask"].numpy() == 0).tolist(),
        "positions": sample["position_ids"].tolist(),
        "seen_from": seen_from.tolist(),
    }


if __name__ == "__main__":
    calls = {"sequences": sequences, "samples": samples}
    print(json.dumps([calls[call.pop("call")](**call) for call in json.loads(sys.argv[1])]))

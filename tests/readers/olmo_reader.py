"""Print what OLMo-core's datasets make of token arrays, as JSON: runs where ai2-olmo-core is installed, without nextlong.

The one argument is a JSON list of calls, and a list of answers is printed. A call names a dataset of ``DATASETS`` as
``call`` and has ``paths``, ``eos``, ``work_dir``, maybe ``bos``, and whatever else the dataset's configuration takes.
"""

from __future__ import annotations

import json
import sys

from olmo_core.data import (
    DataCollator,
    NumpyFSLDatasetConfig,
    NumpyPackedFSLDatasetConfig,
    NumpyVSLDatasetConfig,
    TokenizerConfig,
)
from olmo_core.data.utils import get_cumulative_document_lengths, get_document_indices

DATASETS = {"fsl": NumpyFSLDatasetConfig, "packed": NumpyPackedFSLDatasetConfig, "vsl": NumpyVSLDatasetConfig}


def read(call, paths, eos, work_dir, bos=None, vocab_size=1 << 16, **options):
    tokenizer = TokenizerConfig(vocab_size=vocab_size, eos_token_id=eos, pad_token_id=eos, bos_token_id=bos)
    dataset = DATASETS[call](tokenizer=tokenizer, paths=paths, work_dir=work_dir, **options).build()
    dataset.prepare()
    items = [dataset[number] for number in range(len(dataset))]
    answer = {
        "dtype": dataset.dtype.__name__,
        "instances": [item["input_ids"].tolist() for item in items],
        "documents": [get_document_indices(path) for path in dataset.paths],
    }
    if options.get("generate_doc_lengths"):
        answer["doc_lens"] = [item["doc_lens"].tolist() for item in items]
        # What attention gets for a batch of all instances.
        batch = DataCollator(pad_token_id=eos)(items)
        answer["borders"] = get_cumulative_document_lengths(batch["doc_lens"]).tolist()
    return answer


def main():
    print(json.dumps([read(**call) for call in json.loads(sys.argv[1])]))


# OLMo-core finds documents in processes of its own, which may import this file.
if __name__ == "__main__":
    main()

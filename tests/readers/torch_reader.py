"""What PyTorch, ``datasets``, transformers and torchtitan make of a dataset in the format parquet.

Runs without nextlong: ``torch_reader.py WHAT FOLDER [SCRATCH]`` prints what the function WHAT below returns, as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # the few kernels of flex attention need no pool of processes
EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

from parquet_rows import ParquetRows  # noqa: E402

VOCABULARY = 1024


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row with lists instead of tensors."""
    return {name: value.tolist() if isinstance(value, torch.Tensor) else value for name, value in row.items()}


def rows(folder: str) -> dict[str, Any]:
    """The examples' dataset by itself, and shuffled by a data loader with two processes."""
    dataset = ParquetRows(folder)
    loader = torch.utils.data.DataLoader(dataset, batch_size=1, shuffle=True, num_workers=2)
    return {
        "rows": [plain(row) for row in dataset],
        "dtypes": sorted({str(value.dtype) for value in dataset[0].values()}),
        "shuffled": [batch["input_ids"][0].tolist() for batch in loader],
    }


def loaded(folder: str, scratch: str) -> dict[str, Any]:
    """``datasets.load_dataset``: from its cache, streaming, shuffled, as tensors."""
    from datasets import load_dataset

    options = {"data_files": f"{folder}/tokens/*.parquet", "split": "train", "cache_dir": scratch}
    cached = load_dataset("parquet", **options).remove_columns("spans")
    streamed = load_dataset("parquet", **options, streaming=True).remove_columns("spans")
    tensors = next(iter(streamed.with_format("torch")))
    return {
        "cached": list(cached),
        "streamed": list(streamed),
        "shuffled": list(streamed.shuffle(seed=1, buffer_size=4)),
        "cached tensors": [plain(row) for row in cached.with_format("torch")],
        "streamed tensors": [plain(row) for row in streamed.with_format("torch")],
        "dtype": str(tensors["input_ids"].dtype),
    }


def tiny_llama(attention: str = "sdpa") -> Any:
    """A random Llama whose predictions depend much on what it attends to."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        initializer_range=0.3,
        attn_implementation=attention,
    )
    return LlamaForCausalLM(config)


def sequences(folder: str, row: int) -> list[torch.Tensor]:
    """The sequences of a row, each of shape (1, tokens), read with pyarrow alone."""
    import pyarrow.parquet as pq

    tables = [pq.read_table(path) for path in sorted(Path(folder, "tokens").glob("*.parquet"))]
    content = [content for table in tables for content in table.to_pylist()][row]
    return [torch.tensor([content["input_ids"][start:end]]) for start, end in content["indices"]]


def separate_loss(model: Any, folder: str, row: int) -> tuple[float, int]:
    """The summed loss of a row's sequences, each alone, and how many tokens were predicted."""
    total, predicted = 0.0, 0
    for ids in sequences(folder, row):
        logits = model(input_ids=ids, use_cache=False).logits
        total += float(torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:], reduction="sum"))
        predicted += ids.shape[1] - 1
    return total, predicted


@torch.no_grad()
def attention(folder: str) -> dict[str, Any]:
    """Transformers: the first row as it stands against its sequences one by one; distances are the largest of a logit."""
    from transformers.masking_utils import create_causal_mask
    from transformers.modeling_flash_attention_utils import _is_packed_sequence, _prepare_from_posids

    batch = {name: value[None] for name, value in ParquetRows(folder)[0].items()}
    ids, positions = batch["input_ids"], batch["position_ids"]
    found: dict[str, Any] = {}
    alone = torch.cat([tiny_llama("eager")(input_ids=part, use_cache=False).logits for part in sequences(folder, 0)], dim=1)
    for name in ("eager", "sdpa", "flex_attention"):
        model = tiny_llama(name).eval()
        ways = {
            "packed": {"position_ids": positions, "use_cache": False},
            "no positions": {"use_cache": False},
            "attention mask": {"position_ids": positions, "use_cache": False, "attention_mask": torch.ones_like(ids)},
            "cache": {"position_ids": positions, "use_cache": True},
        }
        found[name] = {way: float((model(input_ids=ids, **more).logits - alone).abs().max()) for way, more in ways.items()}
    total, predicted = separate_loss(tiny_llama(), folder, 0)
    found["loss"] = [float(tiny_llama()(**batch, use_cache=False).loss), total / predicted]
    model = tiny_llama("sdpa")
    mask = create_causal_mask(model.config, model.get_input_embeddings()(ids), None, None, position_ids=positions)
    found["sdpa mask"] = list(mask.shape)
    whole = torch.arange(ids.shape[1])[None]
    found["sdpa mask of one sequence"] = create_causal_mask(
        model.config, model.get_input_embeddings()(ids), None, None, position_ids=whole
    )
    # Flash attention itself needs a GPU; these are the functions that it takes the borders from.
    found["flash packed"] = bool(_is_packed_sequence(positions, 1))
    found["flash packed in a batch of two"] = bool(_is_packed_sequence(positions.repeat(2, 1), 2))
    states = torch.zeros(1, ids.shape[1], 4, 16)
    found["flash borders"] = _prepare_from_posids(states, states, states, positions)[3][0].tolist()
    return found


def trained(folder: str, scratch: str) -> dict[str, Any]:
    """``examples/hf_trainer.py``, two steps over all rows; the loss of the first against that of the sequences alone."""
    from transformers import AutoModelForCausalLM

    model, out, count = Path(scratch, "model"), Path(scratch, "trained"), len(ParquetRows(folder))
    before = tiny_llama()
    before.save_pretrained(model)
    options = ["--model", model, "--output_dir", out, "--max_steps", 2, "--gradient_accumulation_steps", count]
    done = subprocess.run(
        [sys.executable, EXAMPLES / "hf_trainer.py", folder, *map(str, options)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    with torch.no_grad():
        losses = [separate_loss(before, folder, row) for row in range(count)]
        naive = [
            float(before(input_ids=row["input_ids"][None], labels=row["labels"][None]).loss) for row in ParquetRows(folder)
        ]
    after = AutoModelForCausalLM.from_pretrained(out)
    state = json.loads(next(out.glob("checkpoint-*/trainer_state.json")).read_text())
    return {
        "losses": [entry["loss"] for entry in state["log_history"] if "loss" in entry],
        "expected": sum(loss for loss, _ in losses) / sum(predicted for _, predicted in losses),
        "naive": sum(naive) / count,
        "moved": float((after.lm_head.weight - before.lm_head.weight).abs().max()),
    }


def titan_loader(folder: str, seq_len: int, rank: int = 0, world: int = 1, **options: Any) -> Any:
    """The loader, built as torchtitan's trainer does from its command line."""
    from torchtitan.config import ConfigManager

    command = ["--module", "torchtitan_dataset", "--config", "llama3_8b", "--dataloader.dataset-path", folder]
    config = ConfigManager().parse_args([*command, "--training.seq-len", str(seq_len)])
    for name, value in options.items():
        setattr(config.dataloader, name, value)
    return config.dataloader.build(
        dp_world_size=world,
        dp_rank=rank,
        tokenizer=None,
        seq_len=config.training.seq_len,
        local_batch_size=1,
        snapshot_every_n_steps=1,
    )


def titan_row(batch: Any) -> dict[str, Any]:
    """The one row of a batch, with lists."""
    inputs, labels = batch
    return {name: value[0].tolist() for name, value in inputs.items()} | {"labels": labels[0].tolist()}


def titan(folder: str) -> dict[str, Any]:
    """torchtitan's own data loader over ``examples/torchtitan_dataset.py``."""
    length = len(ParquetRows(folder)[0]["input_ids"])
    found: dict[str, Any] = {
        "rows": [titan_row(batch) for batch in titan_loader(folder, length, infinite=False)],
        "ranks": [[titan_row(b)["input"] for b in titan_loader(folder, length, rank, 2, infinite=False)] for rank in (0, 1)],
        "workers": [titan_row(b)["input"] for b in titan_loader(folder, length, infinite=False, num_workers=2)],
    }
    endless = iter(titan_loader(folder, length, 1, 2))
    found["second round"] = [titan_row(next(endless))["input"] for _ in range(len(ParquetRows(folder)))]
    for name, options in {"resumed": {}, "resumed workers": {"num_workers": 2}}.items():
        loader = titan_loader(folder, length, **options)
        batches = iter(loader)
        next(batches)
        state, following = loader.state_dict(), [titan_row(next(batches)) for _ in range(2)]
        again = titan_loader(folder, length, **options)
        again.load_state_dict(state)
        resumed = iter(again)
        found[name] = [titan_row(next(resumed)) for _ in range(2)] == following
    for name, call in {
        "another length": lambda: titan_loader(folder, length - 1),
        "too few rows": lambda: next(iter(titan_loader(folder, length, 0, 100))),
    }.items():
        try:
            call()
        except ValueError as error:
            found[name] = str(error)
    return found


@torch.no_grad()
def titan_model(folder: str) -> dict[str, Any]:
    """torchtitan's Llama 3, its masks and its loss: the first row as it stands against its sequences one by one."""
    from torchtitan.components.loss import cross_entropy_loss
    from torchtitan.models.common.attention import create_varlen_metadata_for_document
    from torchtitan.models.llama3 import model_registry

    torch.manual_seed(0)
    model = model_registry("debugmodel", attn_backend="flex").model.build()
    model.init_weights(buffer_device=torch.device("cpu"))

    def logits(ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return model(ids, attention_masks=model.get_attention_masks(positions=positions), positions=positions)

    parts = sequences(folder, 0)
    length = sum(part.shape[1] for part in parts)
    inputs, labels = next(iter(titan_loader(folder, length)))
    packed = logits(inputs["input"], inputs["positions"])
    whole = torch.arange(length)[None]
    naive = logits(inputs["input"], whole)
    # A sequence at the head of a row sees nothing else; so all rows have one shape, and flex attention is compiled once.
    each = [logits(torch.cat(parts[i:] + parts[:i], dim=1), whole)[:, : parts[i].shape[1]] for i in range(len(parts))]
    alone = torch.cat(each, dim=1)
    losses = [
        torch.nn.functional.cross_entropy(one[0, :-1], ids[0, 1:], reduction="sum")
        for one, ids in zip(each, parts, strict=True)
    ]
    return {
        "packed": float((packed - alone).abs().max()),
        "naive": float((naive - alone).abs().max()),
        "loss": [float(cross_entropy_loss(packed, labels)), float(sum(losses))],
        "borders": create_varlen_metadata_for_document(inputs["positions"]).cu_seq_q.tolist(),
    }


if __name__ == "__main__":
    functions = {function.__name__: function for function in (rows, loaded, attention, trained, titan, titan_model)}
    print(json.dumps(functions[sys.argv[1]](*sys.argv[2:])))

"""A BERT encoder as an ONNX graph, built from its safetensors file without torch.

The graph takes ``input_ids`` (int64, ``(batch, length)``, every text of the batch equally long, so no mask and no padding)
and gives ``vectors`` (float32, ``(batch, hidden)``): the pooled last layer, not normalised.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nextlong.errors import NextlongError

Array = npt.NDArray[Any]

# The first version with LayerNormalization as one operator.
_OPSET = 17
# What onnxruntime 1.18 still reads.
_IR_VERSION = 8


class _Graph:
    """Nodes and constants under construction. Every method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Array, name: str) -> str:
        from onnx import numpy_helper

        if name not in {constant.name for constant in self.constants}:
            self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def scalar(self, value: float) -> str:
        return self.constant(np.array(value, np.float32), f"scalar_{value}")

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64), "integers_" + "_".join(map(str, values)))

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        from onnx import helper

        names = [f"{operator}_{len(self.nodes)}" + (f"_{i}" if outputs > 1 else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=names[0], **attributes))
        return names[0]

    def linear(self, x: str, weight: Array, bias: Array, name: str) -> str:
        """``x @ weight.T + bias``, as torch stores linear layers."""
        product = self.node("MatMul", x, self.constant(weight.T, f"{name}.weight"))
        return self.node("Add", product, self.constant(bias, f"{name}.bias"))


def build_bert(folder: Path, pooling: str) -> Any:
    """The ONNX model of the BERT in a Hugging Face folder (``config.json``, ``model.safetensors``).

    Args:
        pooling: ``mean`` over all tokens, or ``cls`` for the first token's vector.

    Returns:
        An ``onnx.ModelProto``.

    Raises:
        NextlongError: the folder holds another architecture, or lacks a weight.
    """
    from onnx import TensorProto, helper
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    _check(config, folder)
    weights = {name.removeprefix("bert."): array.astype(np.float32) for name, array in _floats(load_file, folder).items()}
    graph = _Graph()
    try:
        hidden = _embeddings(graph, weights, config)
        for layer in range(config["num_hidden_layers"]):
            hidden = _layer(graph, weights, config, f"encoder.layer.{layer}", hidden)
    except KeyError as error:
        raise NextlongError(f"{folder / 'model.safetensors'} lacks the weight {error}.") from error
    if pooling == "mean":
        graph.nodes.append(helper.make_node("ReduceMean", [hidden], ["vectors"], axes=[1], keepdims=0))
    else:
        first = graph.constant(np.array(0, np.int64), "first")
        graph.nodes.append(helper.make_node("Gather", [hidden, first], ["vectors"], axis=1))
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", config["hidden_size"]])
    return helper.make_model(
        helper.make_graph(graph.nodes, "bert", [ids], [vectors], graph.constants),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="nextlong",
    )


def _check(config: dict[str, Any], folder: Path) -> None:
    expected = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    for key, value in expected.items():
        if config.get(key, value) != value:
            raise NextlongError(
                f"{folder / 'config.json'} has {key} = {config[key]!r}; only BERT with {key} = {value!r} is built here.",
                "Use `sentence-transformers:FOLDER` for this model.",
            )


def _floats(load_file: Any, folder: Path) -> dict[str, Array]:
    path = folder / "model.safetensors"
    try:
        arrays: dict[str, Array] = load_file(path)
    except Exception as error:  # safetensors raises its own, OSError, and for bfloat16 TypeError
        raise NextlongError(
            f"Cannot read {path}: {error}", "It must be a safetensors file in float32 or float16."
        ) from error
    return arrays


def _embeddings(graph: _Graph, weights: dict[str, Array], config: dict[str, Any]) -> str:
    # Every token has type 0, so the type's vector is added to the positions once and for all.
    positions = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    length = graph.node("Shape", "input_ids", start=1, end=2)
    zero = graph.integers(0)
    used = graph.node("Slice", graph.constant(positions, "positions"), zero, length, zero)
    words = graph.node("Gather", graph.constant(weights["embeddings.word_embeddings.weight"], "words"), "input_ids")
    return _norm(graph, weights, config, "embeddings.LayerNorm", graph.node("Add", words, used))


def _norm(graph: _Graph, weights: dict[str, Array], config: dict[str, Any], name: str, x: str) -> str:
    scale, shift = (graph.constant(weights[f"{name}.{part}"], f"{name}.{part}") for part in ("weight", "bias"))
    return graph.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=config.get("layer_norm_eps", 1e-12))


def _layer(graph: _Graph, weights: dict[str, Array], config: dict[str, Any], name: str, x: str) -> str:
    heads = config["num_attention_heads"]
    width = config["hidden_size"]
    parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
    # The attention's 1/sqrt(d) goes into the query's weights; one product for all three is faster than three.
    scales = ((width // heads) ** -0.5, 1.0, 1.0)
    stacked = np.concatenate([weights[f"{part}.weight"] * scale for part, scale in zip(parts, scales, strict=True)])
    bias = np.concatenate([weights[f"{part}.bias"] * scale for part, scale in zip(parts, scales, strict=True)])
    projected = graph.linear(x, stacked.astype(np.float32), bias.astype(np.float32), f"{name}.attention.self")
    first = graph.node("Split", projected, graph.integers(width, width, width), outputs=3, axis=2)
    query, key, value = (first.removesuffix("_0") + f"_{i}" for i in range(3))
    by_head = graph.integers(0, 0, heads, width // heads)
    query, value = (
        graph.node("Transpose", graph.node("Reshape", part, by_head), perm=[0, 2, 1, 3]) for part in (query, value)
    )
    key = graph.node("Transpose", graph.node("Reshape", key, by_head), perm=[0, 2, 3, 1])
    attention = graph.node("Softmax", graph.node("MatMul", query, key), axis=-1)
    mixed = graph.node("Transpose", graph.node("MatMul", attention, value), perm=[0, 2, 1, 3])
    mixed = graph.node("Reshape", mixed, graph.integers(0, 0, width))
    mixed = _linear(graph, weights, f"{name}.attention.output.dense", mixed)
    x = _norm(graph, weights, config, f"{name}.attention.output.LayerNorm", graph.node("Add", mixed, x))
    inner = _gelu(graph, _linear(graph, weights, f"{name}.intermediate.dense", x))
    outer = _linear(graph, weights, f"{name}.output.dense", inner)
    return _norm(graph, weights, config, f"{name}.output.LayerNorm", graph.node("Add", outer, x))


def _linear(graph: _Graph, weights: dict[str, Array], name: str, x: str) -> str:
    return graph.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"], name)


def _gelu(graph: _Graph, x: str) -> str:
    # The exact form, written as onnxruntime recognises it and fuses it into one operator.
    error = graph.node("Erf", graph.node("Div", x, graph.scalar(2**0.5)))
    product = graph.node("Mul", x, graph.node("Add", error, graph.scalar(1.0)))
    return graph.node("Mul", product, graph.scalar(0.5))

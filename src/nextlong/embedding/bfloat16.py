"""BERT in bfloat16 by OpenVINO, on processors that compute in it: more than twice as fast, and the neighbours agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nextlong.embedding.protocol import Vectors


def bfloat16_session(path: Path, threads: int) -> Callable[[npt.ArrayLike], Vectors] | None:
    """What computes an ONNX graph in bfloat16; None without OpenVINO, or where the processor has no such arithmetic.

    The bits of a vector depend neither on the number of threads nor on other rows of the same length.

    Args:
        path: a graph from token ids, int64 of shape ``(n, tokens)``, to vectors, float32 of shape ``(n, d)``.
        threads: how many to use.
    """
    try:
        import openvino
        from openvino import properties
    except ImportError:
        return None
    core = openvino.Core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return None
    settings = {
        properties.hint.inference_precision: openvino.Type.bf16,
        properties.hint.performance_mode: properties.hint.PerformanceMode.LATENCY,
        # Each worker process would else take the same first cores for itself.
        properties.hint.enable_cpu_pinning: False,
        properties.inference_num_threads: threads,
    }
    compiled = core.compile_model(str(path), "CPU", settings)
    request: Any = compiled.create_infer_request()

    def vectors(ids: npt.ArrayLike) -> Vectors:
        computed = request.infer({0: np.asarray(ids, dtype=np.int64)})[compiled.output(0)]
        return np.array(computed, dtype=np.float32)  # a copy: the next call overwrites it

    return vectors

"""Networks as ONNX: traced from torch, and run by ONNX Runtime.

The graph takes `image`, uint8 RGB NHWC (batch, height, width, 3) of any size, and gives `logits`, float32
(batch, classes, height, width); normalisation, padding and the crop back are inside.
"""

import copy
import io
import json
import warnings
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from roadseg.errors import CheckpointError, first_line
from roadseg.model.checkpoint import METADATA_KEY, Checkpoint
from roadseg.model.exported import Run, require
from roadseg.model.unet import RoadNet

INPUT: Final = "image"
OUTPUT: Final = "logits"
# Of 2023; the oldest that has every operator of ours, so that older runtimes can read the file.
OPSET: Final = 17


class _FromPixels(nn.Module):
    """The network on pictures as decoders give them: channels last."""

    def __init__(self, network: RoadNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image_BHWC: Tensor) -> Tensor:
        logits_BKHW: Tensor = self.network(image_BHWC.permute(0, 3, 1, 2))
        return logits_BKHW


def trace(checkpoint: Checkpoint) -> Any:
    """Return the folded network as an `onnx.ModelProto`, without a description. Raises ExtraError."""
    onnx = require("onnx", "onnx")
    network = _FromPixels(copy.deepcopy(checkpoint.model).fold().merge_stem().requires_grad_(False)).eval()
    stride = checkpoint.model.config.stride
    # No side is a multiple of the stride, nor 1, nor like another: nothing in the trace is by chance.
    example = torch.zeros(2, 3 * stride + 1, 4 * stride + 3, 3, dtype=torch.uint8)
    sides = {0: "batch", 2: "height", 3: "width"}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter by tracing is called legacy. The newer one, by torch.export, takes 50 times as long for
        # these networks (10 s of symbolic arithmetic on the padding), and makes the same of them.
        warnings.filterwarnings("ignore", "You are using the legacy TorchScript", DeprecationWarning)
        warnings.filterwarnings("ignore", "The feature will be removed", DeprecationWarning)
        # torch's group norm looks whether there is more than one value to a group: no part of the result.
        tracer = torch.jit.TracerWarning  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", "Converting a tensor to a Python", tracer, "torch.nn.functional")
        torch.onnx.export(
            network,
            (example,),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch", 1: "height", 2: "width"}, OUTPUT: sides},
            opset_version=OPSET,
        )
    return onnx.load_model_from_string(buffer.getvalue())


def described(model: Any, description: dict[str, Any]) -> bytes:
    """Return the bytes of a file: `model` with `description` as its metadata.

    The description says what the weights must be (`export.weights_sha256`): a graph with damaged ones runs.
    """
    onnx = require("onnx", "onnx")
    export = {**description["export"], "weights_sha256": _digest(_arrays(onnx, model))}
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA_KEY, value=json.dumps({**description, "export": export}))
    data: bytes = model.SerializeToString()
    return data


def read(files: list[bytes], source: str) -> tuple[str | None, str, Callable[[int, int], Run]]:
    """Return the description in a file's bytes, if there is one, the digest of its weights, and the function
    that starts its network.

    Raises ExtraError, and CheckpointError when the file is damaged or could reach beyond itself.
    """
    onnx, ort = require("onnx", "onnx"), require("onnxruntime", "onnx")
    (data,) = files
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's errors have no public base, and differ between its builds
        raise CheckpointError(f"{source}: is no ONNX file, or a damaged one. Export it again.") from error
    described_as = {entry.key: entry.value for entry in model.metadata_props}.get(METADATA_KEY)
    digest = "" if described_as is None else _digest(_harmless_arrays(onnx, model, source))

    def start(threads: int, calls: int) -> Run:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised
        # Threads that spin while they wait take the cores of decoders and encoders.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            # without the fallback, which prints what goes wrong on stdout and then tries the same again
            session = ort.InferenceSession(
                data, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
            (given,), (wanted,) = session.get_inputs(), session.get_outputs()
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise CheckpointError(
                f"{source}: ONNX Runtime cannot load it ({first_line(error)}). Export it again."
            ) from error
        if (given.name, given.type, wanted.name, wanted.type) != (
            INPUT,
            "tensor(uint8)",
            OUTPUT,
            "tensor(float)",
        ):
            raise CheckpointError(
                f"{source}: its input and output are not those of roadseg's networks. Export it again."
            )

        def run(rgb_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
            try:
                (logits_BKHW,) = session.run([OUTPUT], {INPUT: rgb_BHWC})
            except Exception as error:  # as above
                raise CheckpointError(f"{source}: ONNX Runtime fails on it ({first_line(error)}).") from error
            result: NDArray[np.float32] = logits_BKHW
            return result

        return run

    return described_as, digest, start


def _tensors(model: Any) -> list[Any]:
    """All weights and constants of a graph without loops and branches."""
    attributes = [attribute for node in model.graph.node for attribute in node.attribute]
    return [*model.graph.initializer, *(one.t for one in attributes if one.HasField("t"))]


def _arrays(onnx: Any, model: Any) -> list[NDArray[Any]]:
    return [onnx.numpy_helper.to_array(tensor) for tensor in _tensors(model)]


def _digest(arrays: list[NDArray[Any]]) -> str:
    return sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def _harmless_arrays(onnx: Any, model: Any, source: str) -> list[NDArray[Any]]:
    """A stranger's graph may compute, once through, on what is in its own file; anything more is refused."""
    reason = "functions" if model.functions else "sparse weights" if model.graph.sparse_initializer else ""
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            reason = f"the operator {node.domain}.{node.op_type}, which is not ONNX's own"
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            reason = f"loops or branches ({node.op_type})"
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model)):
        reason = "weights in other files"
    if reason:
        raise CheckpointError(
            f"{source}: refused, because it holds {reason}; no network of roadseg's does. Use a file that "
            "`roadseg export` wrote."
        )
    try:
        arrays = _arrays(onnx, model)
    except Exception as error:  # sizes that do not fit, unknown types: it raises about anything
        raise CheckpointError(
            f"{source}: a weight is damaged ({first_line(error)}). Export it again."
        ) from error
    if not all(np.isfinite(array).all() for array in arrays if array.dtype.kind == "f"):
        raise CheckpointError(f"{source}: some weights are no finite numbers. Export it again.")
    return arrays

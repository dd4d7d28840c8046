"""Networks as OpenVINO's intermediate representation: made from ONNX, and run by OpenVINO on the CPU."""

import hashlib
import json
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadseg.errors import CheckpointError
from roadseg.model.checkpoint import METADATA_KEY
from roadseg.model.exported import Run, require


def converted(onnx_data: bytes, description: dict[str, Any]) -> list[bytes]:
    """Return the contents of the .xml and the .bin that compute the same, in float32. Raises ExtraError.

    The description says what the .bin must be (`export.weights_sha256`): two files can be mixed up.
    """
    openvino = require("openvino", "openvino")
    model = openvino.Core().read_model(onnx_data)
    with tempfile.TemporaryDirectory() as scratch:
        xml = Path(scratch, "model.xml")
        openvino.save_model(model, xml, compress_to_fp16=False)
        weights = xml.with_suffix(".bin").read_bytes()
        export = {**description["export"], "weights_sha256": hashlib.sha256(weights).hexdigest()}
        model.set_rt_info(json.dumps({**description, "export": export}), METADATA_KEY)
        openvino.save_model(model, xml, compress_to_fp16=False)
        return [xml.read_bytes(), xml.with_suffix(".bin").read_bytes()]


def read(files: list[bytes], source: str) -> tuple[str | None, str, Callable[[int, int], Run]]:
    """Return the description in the files, if there is one, the digest of the weights, and the function that
    starts the network.

    Raises ExtraError, and CheckpointError when a file is damaged.
    """
    openvino = require("openvino", "openvino")
    core = openvino.Core()
    xml, weights = files
    try:
        model = core.read_model(xml, weights)
    except Exception as error:  # OpenVINO raises RuntimeError, and others for odd bytes
        raise CheckpointError(
            f"{source}: is no OpenVINO network, or it or its .bin is damaged. Export it again."
        ) from error
    text = str(model.get_rt_info(METADATA_KEY).value) if model.has_rt_info(METADATA_KEY) else None

    def start(threads: int, calls: int) -> Run:
        settings = {
            "INFERENCE_NUM_THREADS": threads * calls,
            "NUM_STREAMS": calls,
            "INFERENCE_PRECISION_HINT": "f32",  # where the CPU has bfloat16 it would be taken
        }
        try:
            compiled = core.compile_model(model, "CPU", settings)
        except Exception as error:  # as above
            raise CheckpointError(f"{source}: OpenVINO cannot load it ({error}). Export it again.") from error
        of_thread = threading.local()

        def run(rgb_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
            if not hasattr(of_thread, "request"):
                of_thread.request = compiled.create_infer_request()
            try:
                found = of_thread.request.infer([rgb_BHWC])
            except Exception as error:  # as above
                raise CheckpointError(f"{source}: OpenVINO fails on it ({error}).") from error
            return np.array(found[0], np.float32)  # the request keeps its own for the next call

        return run

    return text, hashlib.sha256(weights).hexdigest(), start

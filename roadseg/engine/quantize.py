"""Networks in 8-bit integers: static quantisation after training (Jacob et al. 2018), by ONNX Runtime."""

import copy
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from roadseg.model.exported import require
from roadseg.model.onnx_file import INPUT

# Convolutions and what lies between them, so that values stay in 8 bits from one to the next. The arithmetic
# on sizes and the normalisation of the picture are left out. Clip is ReLU6: without it, the convolution
# before it is scaled for values that are cut off right after, which cost road-small two points of IoU.
_OPERATORS: Final = ["Conv", "Relu", "Clip", "Add", "Concat", "Resize", "MaxPool"]


def quantised(model: Any, pictures: Iterable[NDArray[np.uint8]]) -> Any:
    """Return the `onnx.ModelProto` with its convolutions in int8 (QDQ), scaled by what `pictures` give.

    Weights are scaled by channel, and take 7 bits: without VNNI, x86 adds pairs of products in 16 bits, which
    overflow at 8. pictures: rgb_BHWC uint8, as the network is to see them. Raises ExtraError.
    """
    onnx = require("onnx", "onnx")
    require("onnxruntime", "onnx")
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(pictures)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            rgb_BHWC = next(self.rest, None)
            return None if rgb_BHWC is None else {INPUT: rgb_BHWC}

    with tempfile.TemporaryDirectory() as scratch:
        plain, small = Path(scratch, "plain.onnx"), Path(scratch, "int8.onnx")
        quant_pre_process(
            copy.deepcopy(model), plain, skip_symbolic_shape=True
        )  # it changes what it is given
        quantization.quantize_static(
            plain,
            small,
            Reader(),
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=_OPERATORS,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return onnx.load(small)

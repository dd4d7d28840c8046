"""Networks in the files of other runtimes: `.onnx` for ONNX Runtime, `.xml` with its `.bin` for OpenVINO.

Such a file carries the same description as a checkpoint, so that it is used in the same way; it can be run,
and nothing else. Shapes: B batch, H W pixels, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from roadseg.config import ExportFormat, InferConfig, UNetConfig
from roadseg.documents import parse_json
from roadseg.errors import CheckpointError, ExtraError, RoadsegError
from roadseg.labels import LabelScheme
from roadseg.model.checkpoint import EXPORTED, Checkpoint, load_checkpoint, require_format
from roadseg.model.stranger import require_answer

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Maps rgb_BHWC uint8 to logits_BKHW of the same size; may be called in several threads at once."""

_MOST_BYTES: Final = 2**31  # what a file of either kind may hold, by protobuf's limit
_PACKAGES: Final = {
    "onnx": "ONNX",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
}


@dataclass(frozen=True)
class Exported:
    """A network that another runtime runs, and all that is needed to use it."""

    kind: ExportFormat
    start: Callable[[int, int], Run]
    """Of the threads that each call may use, and how many calls there may be at once."""
    scheme: LabelScheme
    imgsz: int
    """Longer side in pixels of the pictures that it was trained for."""
    stride: int
    """It sees pictures best whose sides are multiples of this."""
    scores: dict[str, Any]
    recipe: dict[str, Any]
    export: dict[str, Any]
    """How it was exported: precision, parity with the checkpoint (in float32), versions."""
    roadseg_version: str
    source: str
    sha256: str
    """Of its files."""

    def digest(self) -> str:
        """What tells this network from every other, as `Checkpoint.digest` does."""
        return self.sha256


def load_weights(path: Path | None = None) -> Checkpoint | Exported:
    """Read what `--weights` names, by its suffix; None: the bundled road weights.

    Raises CheckpointError when the file is missing, damaged, unsafe, or not one of roadseg's, and ExtraError
    where the runtime that it is for is not installed.
    """
    if path is None or path.suffix.lower() not in EXPORTED:
        return load_checkpoint(path)
    return read_exported([_read(file) for file in files_of(path)], EXPORTED[path.suffix.lower()], str(path))


def files_of(path: Path) -> list[Path]:
    """The files of the network that is called `path`."""
    return [path, path.with_suffix(".bin")] if path.suffix.lower() == ".xml" else [path]


def read_exported(files: list[bytes], kind: ExportFormat, source: str) -> Exported:
    """Read a network from the contents of its files, as `files_of` lists them; raises as `load_weights`."""
    if not files[0]:
        raise CheckpointError(f"{source}: the file is empty. Export it again.")
    if kind == "onnx":
        from roadseg.model.onnx_file import read
    else:
        from roadseg.model.openvino_file import read
    text, digest, start = read(files, source)
    if text is None:
        raise CheckpointError(
            f"{source}: has no description of roadseg's, so it is another program's. Use a file that "
            "`roadseg export` wrote."
        )
    try:
        content = parse_json(text)
        require_format(content, source)
        if content["export"].get("weights_sha256", digest) != digest:  # earlier .onnx files have none
            whose = "the .bin beside it is damaged, or another network's" if files[1:] else "it is damaged"
            raise CheckpointError(f"{source}: {whose}. Export it again.")
        found = _described(content, kind, start, source, sha256(b"".join(files)).hexdigest())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{source}: its description is damaged ({type(error).__name__}: {error}). Export it again."
        ) from error
    require_answer(files, kind, found.stride, source)
    return found


def require(package: str, extra: str) -> ModuleType:
    """Import an optional package; ExtraError says how to get it."""
    try:
        return import_module(package)
    except ImportError as error:
        raise ExtraError(f"{_PACKAGES[package]} is not installed: pip install 'roadseg[{extra}]'") from error


def _described(
    content: dict[str, Any], kind: ExportFormat, start: Callable[[int, int], Run], source: str, digest: str
) -> Exported:
    try:
        imgsz = InferConfig(imgsz=int(content["preprocessing"]["imgsz"])).imgsz
        stride = UNetConfig.from_dict(content["model_config"]).stride
        scheme = LabelScheme.from_dict(content["label_scheme"])
    except RoadsegError as error:
        raise ValueError(str(error)) from error
    assert imgsz is not None
    return Exported(
        kind=kind,
        start=start,
        scheme=scheme,
        imgsz=imgsz,
        stride=stride,
        scores=dict(content.get("scores", {})),
        recipe=dict(content.get("recipe", {})),
        export=dict(content["export"]),
        roadseg_version=str(content.get("roadseg_version", "?")),
        source=source,
        sha256=digest,
    )


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            beside = " beside the .xml" if path.suffix == ".bin" else ""
            raise CheckpointError(f"{path}: there is no such weights file{beside}. Check --weights.")
        if path.stat().st_size >= _MOST_BYTES:
            raise CheckpointError(
                f"{path}: is 2 GiB or larger, and no network of roadseg's. Check --weights."
            )
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}). Check --weights.") from error

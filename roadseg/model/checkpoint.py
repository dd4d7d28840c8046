"""Checkpoints that explain themselves: network, classes, preprocessing, scores and recipe in one file.

Two forms with the same content: `.pt` (torch, tensors and plain types only, always read with
`weights_only=True`, so that a stranger's file runs no code) and `.safetensors` (for released weights).
"""

import hashlib
import io
import json
import os
import pickle
import zipfile
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

import roadseg
from roadseg.config import ExportFormat, InferConfig, UNetConfig
from roadseg.documents import parse_json
from roadseg.errors import CheckpointError, ConfigError, RoadsegError
from roadseg.labels import LabelScheme
from roadseg.media.output import cannot_write, replacing, scratch_name
from roadseg.model.blocks import RGB_MEAN, RGB_STD
from roadseg.model.pruned import restore_model
from roadseg.model.unet import RoadNet

FORMAT = 1
METADATA_KEY = "roadseg"
DEFAULT_WEIGHTS: Final = "road-small"
_LONGEST_REASON: Final = 200  # letters
EXPORTED: Final[dict[str, ExportFormat]] = {".onnx": "onnx", ".xml": "openvino"}
"""Suffixes of networks that can only be run (`roadseg.model.exported`)."""


@dataclass
class Checkpoint:
    """A network and all that is needed to use it."""

    model: RoadNet
    scheme: LabelScheme
    imgsz: int
    """Longer side in pixels of the pictures that it was trained for."""
    scores: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    """The `TrainConfig` that made it."""
    parts: list[dict[str, Any]] = field(default_factory=list)
    """What a mean of several trainings was made of: of each its `share` (all together 1) and `recipe`."""
    training: dict[str, Any] | None = None
    """What `train --resume` needs (optimizer, epoch, ...); absent from released weights."""
    roadseg_version: str = roadseg.__version__
    source: str = "memory"
    """Where it was read from, for messages and reports."""

    def digest(self) -> str:
        """Return the SHA-256 of names and values of the weights: the same for a file of either form."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def description(self) -> dict[str, Any]:
        """Return everything but tensors, as plain types."""
        return {
            "format": FORMAT,
            "model_config": self.model.config.to_dict(),
            "pruned": self.model.pruned,
            "label_scheme": self.scheme.to_dict(),
            "preprocessing": {"imgsz": self.imgsz, "rgb_mean": list(RGB_MEAN), "rgb_std": list(RGB_STD)},
            "scores": self.scores,
            "recipe": self.recipe,
            "parts": self.parts,
            "roadseg_version": self.roadseg_version,
        }


def shareable(checkpoint: Checkpoint) -> Checkpoint:
    """Return it without the folders of whoever trained it: of paths in its recipe their names are left."""
    recipe = dict(checkpoint.recipe)
    for name in ("weights", "teacher", "encoder_weights", "classes"):
        if recipe.get(name):
            recipe[name] = Path(recipe[name]).name
    if recipe.get("data"):
        recipe["data"] = [Path(folder).name for folder in recipe["data"]]
    return replace(checkpoint, recipe=recipe)


def save_checkpoint(checkpoint: Checkpoint, path: Path, *, keep_previous: bool = False) -> None:
    """Write `checkpoint` to `path` (.pt, or .safetensors without training state), whole or not at all.

    With `keep_previous` the file that was there stays beside it as NAME.previous.SUFFIX. Raises OutputError.
    """
    buffer = io.BytesIO()  # torch tells a full disk as an error of its own, without its name
    weights = {name: tensor.contiguous() for name, tensor in checkpoint.model.state_dict().items()}
    try:
        if path.suffix == ".safetensors":
            header = {METADATA_KEY: json.dumps(checkpoint.description())}
            buffer.write(safetensors.torch.save(weights, header))
        else:
            training = checkpoint.training
            torch.save({**checkpoint.description(), "weights": weights, "training": training}, buffer)
        with replacing(path) as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
            if keep_previous and path.exists():
                _link_over(path, previous_of(path))
    except OSError as error:
        raise cannot_write(path, error) from error


def previous_of(path: Path) -> Path:
    """Return the name under which `save_checkpoint` keeps the file before."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def put_back_previous(path: Path) -> None:
    """Give the file that `save_checkpoint` kept the name `path`, over what was there, too. OutputError."""
    try:
        _link_over(previous_of(path), path)
    except OSError as error:
        raise cannot_write(path, error) from error


def _link_over(path: Path, target: Path) -> None:
    """Give the file at `path` the name `target` as well; at no moment is either name without a whole file."""
    link = scratch_name(target.parent)
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links
        link.write_bytes(path.read_bytes())
    os.replace(link, target)
    link.unlink(missing_ok=True)  # where both were one file already, the system does not rename


def bundled_weights() -> dict[str, Path]:
    """Return the weights that come with roadseg, by name."""
    folder = Path(str(resources.files("roadseg") / "weights"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find_weights(path: Path | None) -> Path:
    """Return the file that `--weights` means: a path, or the name of bundled ones; None: `DEFAULT_WEIGHTS`.

    A file in the working directory comes before bundled weights of that name. Raises CheckpointError when
    there is no such file.
    """
    bundled = bundled_weights()
    if path is None:
        return bundled[DEFAULT_WEIGHTS]
    if os.path.isfile(path):  # which takes a name that is too long, too
        return path
    if str(path) in bundled:
        return bundled[str(path)]
    raise CheckpointError(
        f"{path}: there is no such weights file. Check the path, or name weights of ours: "
        f"{', '.join(bundled)}."
    )


def load_checkpoint(path: Path | None = None) -> Checkpoint:
    """Read the checkpoint that `find_weights` finds, on the CPU, in evaluation mode.

    Raises CheckpointError when the file is missing, damaged, unsafe, or not one of roadseg's.
    """
    path = find_weights(path)
    if path.suffix.lower() in EXPORTED:
        raise CheckpointError(
            f"{path}: is exported, so it can only be run (segment, video, eval). Use the checkpoint that it "
            "was made from."
        )
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if not isinstance(content, dict) or not {"format", "model_config", "label_scheme", "weights"} <= set(
        content
    ):
        raise CheckpointError(
            f"{path}: this is not a roadseg checkpoint (a bare state dict, or another program's). "
            "Use a file that `roadseg train` wrote."
        )
    require_format(content, str(path))
    try:
        return _build(content, str(path))
    except (
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
        RuntimeError,
        ConfigError,
        RoadsegError,
    ) as error:
        raise CheckpointError(
            f"{path}: the weights do not fit the network that the file describes ({_reason(error)}). The "
            "file is damaged: copy it again; or it is of another version of roadseg: install the one that "
            f"wrote it (it says {content.get('roadseg_version', '?')}, this is {roadseg.__version__})."
        ) from error


def _reason(error: Exception) -> str:
    """The first line that says something: torch begins with a headline when weights and layers differ."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    line = lines[1] if lines[0].startswith("Error(s) in loading") and len(lines) > 1 else lines[0]
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]} ..."


def require_format(content: dict[str, Any], source: str) -> None:
    """CheckpointError if a description is of another format than this version of roadseg reads."""
    if content["format"] != FORMAT:
        raise CheckpointError(
            f"{source}: checkpoint format {content['format']} of roadseg "
            f"{content.get('roadseg_version', '?')}, but roadseg {roadseg.__version__} reads format {FORMAT}."
            " Install the roadseg that wrote it."
        )


def _build(content: dict[str, Any], source: str) -> Checkpoint:
    scheme = LabelScheme.from_dict(content["label_scheme"])
    preprocessing = content["preprocessing"]
    imgsz = InferConfig(imgsz=int(preprocessing["imgsz"])).imgsz
    assert imgsz is not None
    if (tuple(preprocessing["rgb_mean"]), tuple(preprocessing["rgb_std"])) != (RGB_MEAN, RGB_STD):
        raise ValueError("its pictures are normalised by other numbers than ours")
    config = UNetConfig.from_dict(content["model_config"])
    pruned = bool(content.get("pruned", False))
    model = restore_model(config, scheme.num_classes, content["weights"], pruned=pruned)
    if not all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values()):
        raise ValueError("some weights are no finite numbers")
    return Checkpoint(
        model=model.eval(),
        scheme=scheme,
        imgsz=imgsz,
        scores=content.get("scores", {}),
        recipe=content.get("recipe", {}),
        parts=content.get("parts", []),
        training=content.get("training"),
        roadseg_version=content.get("roadseg_version", "?"),
        source=source,
    )


def _read_torch(path: Path) -> Any:
    if not zipfile.is_zipfile(path):  # what torch.save has written since 1.6; never unpickle anything else
        raise CheckpointError(
            f"{path}: refused: it is damaged, cut short, or no checkpoint at all. Copy it again, or use "
            f"{previous_of(path).name} beside it if there is one."
        )
    try:
        _require_whole(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused, because it is damaged, or holds Python objects, which could run code when "
            "loaded. Use a file that `roadseg train` wrote, or a .safetensors file."
        ) from error
    except Exception as error:  # torch's unpickler raises about anything on damaged files
        raise CheckpointError(
            f"{path}: not a readable checkpoint; it is damaged. Copy it again, or use "
            f"{previous_of(path).name} beside it if there is one."
        ) from error


def _require_whole(path: Path) -> None:
    """ValueError or an error of zipfile's unless all that the file claims to hold is in it, undamaged.

    torch looks at no checksum, and gets memory for what a packed member says it unpacks to.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("torch packs nothing")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise ValueError("it claims more than it holds")
        if archive.testzip() is not None:
            raise ValueError("its checksums are wrong")


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a readable safetensors file; it is damaged or cut short. Copy it again, or make it "
            "anew by `roadseg release`."
        ) from error
    try:
        described = parse_json(metadata.get(METADATA_KEY, "{}"))
    except ValueError as error:
        raise CheckpointError(
            f"{path}: its description is not JSON; the file is damaged. Copy it again."
        ) from error
    return {**described, "weights": weights}

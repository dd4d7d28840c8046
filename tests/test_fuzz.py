"""Damaged and hostile files, by the thousand: every one is read, or refused by one of our own errors.

Each number is a mutation that can be had again. A family runs a slice of its numbers in `make test`, and all
of them in `make test-slow`. What the tests hold: no other exception, no warning, no crash; bounded work and
memory for each file; and of what is accepted, that it is what it claims to be.
"""

import io
import json
import random
import resource
import tarfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import mutants
import numpy as np
import pytest
import torch
from clips import make_clip
from conftest import street, tiny_checkpoint
from PIL import Image

from roadseg.config import InferConfig, TrainConfig
from roadseg.dataset.archives import find_archives
from roadseg.dataset.samples import Sample, read_label
from roadseg.documents import to_json
from roadseg.engine.evaluation import ImageResult, gather, scores_document
from roadseg.engine.predict import Predictor
from roadseg.engine.runs import read_recipe
from roadseg.engine.scoring import score_run
from roadseg.errors import RoadsegError
from roadseg.labels import ENCODINGS, LabelScheme, get_scheme
from roadseg.media.images import read_rgb
from roadseg.media.video import FFmpegReader
from roadseg.metrics import ConfusionMatrix, scores
from roadseg.model.checkpoint import load_checkpoint, save_checkpoint
from roadseg.model.exported import load_weights
from roadseg.report.compare import compare
from roadseg.report.load import find_documents, make_runs
from roadseg.report.present import to_html
from roadseg.report.run import Row, RunReport

SECONDS = 10.0  # of computing, for any one file
MEMORY = 400 << 10  # KiB that all of a family's files may add to what its whole files took


@dataclass(frozen=True)
class Case:
    """A damaged file, what it was made of, and whether it was sealed again (then damage may go unnoticed)."""

    seed: bytes
    data: bytes
    sealed: bool


@dataclass(frozen=True)
class Family:
    """Seeds by file name; what is done with a file; mutators behind seals, by suffix; how many mutations."""

    seeds: Callable[[], dict[str, bytes]]
    check: Callable[[Path, Case], None]
    fast: int
    slow: int
    sealed: dict[str, mutants.Mutator] = field(default_factory=dict)


# ---------------------------------------------------------------- pictures and labels


def check_picture(path: Path, case: Case) -> None:
    rgb_HWC = read_rgb(path)
    assert rgb_HWC.dtype == np.uint8
    assert rgb_HWC.flags.c_contiguous
    assert rgb_HWC.ndim == 3
    if path.suffix == ".png" and not case.sealed:  # its checksums tell
        expected = np.asarray(Image.open(io.BytesIO(case.seed)))
        assert rgb_HWC.size == 3 * expected.shape[0] * expected.shape[1]
    if path.suffix in (".jpg", ".png"):
        Image.open(io.BytesIO(case.data)).load()  # as whole as Pillow asks it to be


def check_label(path: Path, case: Case) -> None:
    for name in ("road-mask", "cityscapes-labelIds", "camvid-color"):
        encoding = ENCODINGS.get(name)
        if encoding:
            sample = Sample(path, path, encoding, split="", group="", key="")
            try:
                label_HW = read_label(sample, get_scheme("road"))
            except RoadsegError:
                continue
            assert label_HW.dtype == np.uint8
            assert set(np.unique(label_HW)) <= {0, 1, 255}


# ---------------------------------------------------------------- videos

FRAMES = 16
CLIPS = {
    "h264.mp4": ("libx264", True),
    "h264.mkv": ("libx264", True),
    "h264.ts": ("libx264", True),
    "mpeg4.mp4": ("mpeg4", False),
    "vp9.webm": ("libvpx-vp9", False),
    "mjpeg.avi": ("mjpeg", False),
    "ffv1.mkv": ("ffv1", False),
}


@cache
def clips() -> dict[str, bytes]:
    seeds = {}
    for name, (codec, sound) in CLIPS.items():
        path = Path(FOLDER[0], f"seed-{name}")
        options = {"deadline": "realtime", "cpu-used": "8"} if codec == "libvpx-vp9" else None
        if codec not in ("libx264", "libvpx-vp9"):
            options = {"g": "6"}
        pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        make_clip(path, FRAMES, codec=codec, sound=sound, options=options, pixel_format=pixels)
        seeds[name] = path.read_bytes()
    return seeds


def check_video(path: Path, case: Case) -> None:
    with FFmpegReader(str(path), lambda height, width: (32, 32)) as reader:
        frames = sum(hasattr(item, "small_HWC") for item in reader)
        told = reader.missing + reader.damaged
        assert reader.left_out is not None
        assert reader.chapters is not None
    assert frames
    cut_short = case.seed.startswith(case.data) and len(case.data) < len(case.seed)
    if cut_short and path.suffix == ".mp4" and frames < FRAMES // 2:
        assert told  # a quarter of a second may be missing, no more


# ---------------------------------------------------------------- weights


@cache
def checkpoints() -> dict[str, bytes]:
    seeds = {}
    for suffix in (".pt", ".safetensors"):
        path = Path(FOLDER[0], f"seed{suffix}")
        save_checkpoint(tiny_checkpoint(), path)
        seeds[f"tiny{suffix}"] = path.read_bytes()
    return seeds


def check_checkpoint(path: Path, case: Case) -> None:
    checkpoint = load_checkpoint(path)
    weights = checkpoint.model.state_dict()
    assert all(tensor.isfinite().all() for tensor in weights.values())
    with torch.inference_mode():
        logits = checkpoint.model(torch.zeros(1, 3, 16, 24))
    assert logits.shape == (1, checkpoint.scheme.num_classes, 16, 24)
    if path.suffix == ".pt" and not case.sealed:  # its checksums tell
        path.write_bytes(case.seed)
        whole = load_checkpoint(path).model.state_dict()
        assert all(torch.equal(weights[name], whole[name]) for name in whole)


@cache
def networks() -> dict[str, bytes]:
    pytest.importorskip("onnxruntime")
    from roadseg.model.onnx_file import described, trace

    checkpoint = tiny_checkpoint()
    return {"tiny.onnx": described(trace(checkpoint), {**checkpoint.description(), "export": {}})}


def check_network(path: Path, case: Case) -> None:
    (mask_HW,) = Predictor(load_weights(path), InferConfig(device="cpu")).predict([street(0)[0]])
    assert mask_HW.shape == (48, 96)


# ---------------------------------------------------------------- documents


@cache
def documents() -> dict[str, bytes]:
    scheme = {
        "name": "mine",
        "classes": [
            {"name": "other", "color": [0, 0, 0], "values": [0, 1]},
            {"name": "road", "color": [128, 64, 128], "values": [7]},
        ],
        "void": [255],
    }
    rows = [
        Row(input="a.png", outputs={"mask": "masks/a.png"}, width=4, height=4, road_fraction=0.5, iou=0.5,
            counts=[[1, 2, 0], [3, 4, 0]], seconds=0.1),
        Row(input="b.png", outputs={"mask": "masks/b.png"}, iou=0.4, counts=[[7, 2, 1], [3, 4, 0]]),
        Row(input="c.png", status="failed", error="is no picture"),
    ]  # fmt: skip
    report = RunReport(command="segment", settings={"imgsz": 64}, classes=("background", "road"), rows=rows)
    score_run(report, [])
    report.write(Path(FOLDER[0]), "seed")
    counts = ConfusionMatrix.from_counts([[5, 2, 0], [1, 4, 0]])
    image = ImageResult("a", counts, scores(counts, report.classes))
    evaluation = scores_document(gather(get_scheme("road"), [image, replace(image, key="b")]), {"imgsz": 64})
    return {
        "scores.json": to_json(evaluation).encode(),
        "scheme.json": json.dumps(scheme).encode(),
        "recipe.json": json.dumps(TrainConfig(data=("x",)).to_dict()).encode(),
        "report.json": Path(FOLDER[0], "seed.json").read_bytes(),
    }


def check_document(path: Path, case: Case) -> None:
    if path.name == "scheme.json":
        scheme = get_scheme(str(path))
        assert LabelScheme.from_dict(json.loads(json.dumps(scheme.to_dict()))) == scheme
    elif path.name == "recipe.json":
        TrainConfig.from_dict(read_recipe(str(path)))
    else:
        if path.name == "report.json":
            report = RunReport.read(path)  # as --skip-existing does
            score_run(report, [])
            assert report.to_csv()
            assert to_json(report.to_dict())
        document = find_documents(path)[0]
        whole = path.with_name("whole.json"), json.loads(case.seed)
        to_html(compare(make_runs([document] if case.data == case.seed else [whole, document])))


# ---------------------------------------------------------------- archives


@cache
def archives() -> dict[str, bytes]:
    seeds = {}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(5):
            archive.writestr(f"a/{i}.png", bytes(1000))
    seeds["a.zip"] = file.getvalue()
    for suffix, mode in {"tar": "w:", "tar.gz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}.items():
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode=mode) as archive:
            for i in range(5):
                member = tarfile.TarInfo(f"a/{i}.png")
                member.size = 1000
                archive.addfile(member, io.BytesIO(bytes(1000)))
        seeds[f"a.{suffix}"] = file.getvalue()
    return seeds


def check_archive(path: Path, case: Case) -> None:
    before = sorted(path.parent.iterdir())
    for archive in find_archives(path.parent):
        assert archive.state in ("packed", "damaged", "unpacked")
        assert archive.unpack_command(path.parent)
    assert sorted(path.parent.iterdir()) == before


FAMILIES = {
    "pictures": Family(
        mutants.picture_seeds, check_picture, fast=60, slow=5000, sealed={".png": mutants.sealed_png}
    ),
    "labels": Family(
        mutants.label_seeds, check_label, fast=15, slow=1500, sealed={".png": mutants.sealed_png}
    ),
    "documents": Family(documents, check_document, fast=24, slow=2000, sealed={".json": mutants.odd_json}),
    "archives": Family(archives, check_archive, fast=12, slow=900, sealed={".zip": mutants.sealed_zip}),
    "checkpoints": Family(
        checkpoints,
        check_checkpoint,
        fast=10,
        slow=900,
        sealed={".pt": mutants.sealed_zip, ".safetensors": mutants.sealed_safetensors},
    ),
    "videos": Family(clips, check_video, fast=6, slow=700),
    "networks": Family(networks, check_network, fast=0, slow=200),
}

FOLDER: list[Path] = []
"""Where seeds are made."""


@pytest.fixture(scope="module", autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    FOLDER[:] = [tmp_path_factory.mktemp("seeds")]


def mutation(family: Family, number: int) -> tuple[str, Case]:
    """The name and the case of a mutation: the same for a number, always."""
    rng = random.Random(number)
    name, seed = rng.choice(sorted(family.seeds().items()))
    mutator = family.sealed.get(Path(name).suffix)
    sealed = mutator is not None and rng.random() < 0.65
    return name, Case(seed, mutator(seed, rng) if mutator and sealed else mutants.damage(seed, rng), sealed)


def memory() -> int:
    """The most that this process has had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def survive(family: Family, numbers: range, folder: Path) -> int:
    """Run these mutations; returns how many were accepted."""
    for name, seed in family.seeds().items():  # also loads what is loaded once
        path = folder / name
        path.write_bytes(seed)
        family.check(path, Case(seed, seed, sealed=False))
        path.unlink()
    before, accepted = memory(), 0
    for number in numbers:
        name, case = mutation(family, number)
        path = folder / name
        path.write_bytes(case.data)
        began = time.process_time()
        try:
            family.check(path, case)
            accepted += 1
        except RoadsegError:
            pass
        except Exception as error:
            error.add_note(f"mutation {number} of {name}")
            raise
        spent = time.process_time() - began
        assert spent < SECONDS, f"mutation {number} of {name} took {spent:.1f} s"
        assert memory() - before < MEMORY, f"mutation {number} of {name} took {memory() - before} KiB"
        path.unlink(missing_ok=True)
    return accepted


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.fast])
def test_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    survive(FAMILIES[name], range(FAMILIES[name].fast), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", FAMILIES)
def test_damaged_files_by_the_thousand(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    accepted = survive(family, range(family.fast, family.fast + family.slow), tmp_path)
    assert accepted > 0, "nothing but rubbish was tried"


def test_there_are_ten_thousand() -> None:
    assert sum(family.slow for family in FAMILIES.values()) >= 10_000

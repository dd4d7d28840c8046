"""Names, bombs and places that are meant to do harm: refused or taken as they are, and nothing runs."""

import contextlib
import csv
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import make_clip
from conftest import make_cityscapes, street, tiny_checkpoint, write_png
from mutants import png_chunk
from PIL import Image
from test_cli import run

from roadseg.config import TrainConfig
from roadseg.dataset import archives
from roadseg.dataset.archives import find_archives
from roadseg.dataset.samples import Sample, read_label
from roadseg.engine.runs import read_recipe
from roadseg.errors import CheckpointError, ConfigError, DatasetError, MediaError, RoadsegError
from roadseg.labels import ENCODINGS, get_scheme
from roadseg.media import video_source
from roadseg.media.find import find_images
from roadseg.media.images import read_rgb
from roadseg.media.video import FFmpegReader
from roadseg.model.checkpoint import load_checkpoint, save_checkpoint

# ---------------------------------------------------------------- names

NAMES = [
    "new\nline.png",
    "tab\tbell\x07.png",
    "\x1b]0;title\x07\x1b[2J.png",  # would steer a terminal
    "=cmd|'calc'!A0.png",
    "+1.png",
    "@sum.png",
    "<img src=x onerror=alert(1)>.png",
    "'\"`;$(touch x) &&.png",
    "x..png",
    "x..%2f..%2fx.png",
    "-rf.png",
    "  spaces  .png",
    "x" * 251 + ".png",  # 255 bytes, the most that disks allow
    "\u202egnp.exe.png",
    *(f"{chr(plane * 0x10000 + 0x400)}.png" for plane in range(17) if plane),
    os.fsdecode(b"\xff\xfe.png"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("names")
    save_checkpoint(tiny_checkpoint(), place / "net.pt")
    data = io.BytesIO()
    Image.fromarray(street(0, 24, 32)[0]).save(data, "PNG")
    for name in NAMES:
        (place / "in").mkdir(exist_ok=True)
        try:
            (place / "in" / name).write_bytes(data.getvalue())
        except OSError:
            pytest.skip("a disk that takes no such names")
    (place / "in" / "bad\x1b[31m\nname.jpg").write_bytes(b"no picture")
    (place / "in" / "loop.png").symlink_to("loop.png")
    (place / "in" / "up").symlink_to(place / "in")
    os.mkfifo(place / "in" / "fifo.png")
    (place / "in" / "zero.png").symlink_to("/dev/zero")
    return place


def test_segment_takes_every_name(place: Path) -> None:
    out = place / "out"
    done = run("segment", place / "in", "-w", place / "net.pt", "--out", out, "--device", "cpu", "--json")
    assert done.exit_code == 3
    rows = {row["input"]: row for row in json.loads(done.stdout)["rows"]}
    failed = {name for name, row in rows.items() if row["status"] == "failed"}
    assert failed == {"bad\x1b[31m\nname.jpg", "fifo.png", "loop.png", "zero.png"}
    assert len(rows) == len(NAMES) + 4
    assert len(list((out / "masks").iterdir())) == len(NAMES)
    assert {path.name for path in place.iterdir()} <= {"in", "out", "net.pt"}
    with (out / "report.csv").open(encoding="utf-8-sig", newline="") as file:
        cells = [row[0] for row in csv.reader(file)][1:]
    assert len(cells) == len(rows)
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    again = run(
        "segment", place / "in", "-w", place / "net.pt", "--out", out, "--device", "cpu", "--skip-existing"
    )
    assert again.exit_code == 3
    assert "\x1b[31m" not in again.output
    assert "\\x1b[31m" in again.stderr


def test_names_too_long_for_their_results_fail_alone(tmp_path: Path) -> None:
    """`a.bmp` beside `a.png` become `a.bmp.png`: longer than a disk allows."""
    stem = "x" * 250
    for suffix in (".png", ".bmp"):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(street(0, 24, 32)[0]).save(tmp_path / "in" / f"{stem}{suffix}")
    write_png(tmp_path / "in" / "y.png", street(0, 24, 32)[0])
    save_checkpoint(tiny_checkpoint(), tmp_path / "net.pt")
    done = run(
        "segment", tmp_path / "in", "-w", tmp_path / "net.pt", "--out", tmp_path / "out", "--device", "cpu"
    )
    assert done.exit_code == 3
    assert "shorten the name" in done.stderr
    assert (tmp_path / "out" / "masks" / "y.png").exists()


@pytest.mark.parametrize(
    "line", ["nul\0byte.png", "../../../../etc/passwd", "x" * 300 + ".png", "/dev/zero", "\u2028.png"]
)
def test_listed_paths_fail_alone(tmp_path: Path, line: str) -> None:
    write_png(tmp_path / "a.png", street(0, 24, 32)[0])
    save_checkpoint(tiny_checkpoint(), tmp_path / "net.pt")
    (tmp_path / "list.txt").write_text(f"a.png\n{line}\n", encoding="utf-8")
    done = run(
        "segment", tmp_path / "list.txt", "-w", tmp_path / "net.pt", "--out", tmp_path / "out", "--json"
    )
    assert done.exit_code == 3, done.output
    assert [row["status"] for row in json.loads(done.stdout)["rows"]] == ["ok", "failed"]
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(tmp_path) for path in written)


@pytest.fixture
def as_anybody() -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Runs roadseg with what `chmod` forbids forbidden to root, too."""
    drop: list[str] = []
    if not os.geteuid():
        if not shutil.which("setpriv"):
            pytest.skip("runs as root, and without setpriv root may read everything")
        drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    closed: list[Path] = []

    def begin(*words: object, close: Sequence[Path]) -> subprocess.CompletedProcess[str]:
        for path in close:
            path.chmod(0)
            closed.append(path)
        command = [*drop, sys.executable, "-m", "roadseg", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    yield begin
    for path in closed:
        path.chmod(0o755)


def test_a_closed_folder_and_a_closed_file_fail_alone(
    tmp_path: Path, as_anybody: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    save_checkpoint(tiny_checkpoint(), tmp_path / "net.pt")
    for name in ("a.png", "b.png", "closed/c.png"):
        write_png(tmp_path / "in" / name, street(0, 24, 32)[0])
    close = tmp_path / "in" / "b.png", tmp_path / "in" / "closed"
    words = ("segment", tmp_path / "in", "-w", tmp_path / "net.pt", "--no-html", "--json")
    done = as_anybody(*words, "--out", tmp_path / "out", close=close)
    assert done.returncode == 3, done.stderr
    rows = {row["input"]: row for row in json.loads(done.stdout)["rows"]}
    assert {name: row["status"] for name, row in rows.items()} == {
        "a.png": "ok",
        "b.png": "failed",
        "closed": "failed",
    }
    assert "cannot be listed" in rows["closed"]["error"]
    assert "Permission denied" in rows["b.png"]["error"]
    alone = as_anybody(*words[:1], close[1], *words[2:], "--out", tmp_path / "none", close=())
    assert alone.returncode == 1
    assert "permissions" in alone.stdout + alone.stderr
    assert not (tmp_path / "none").exists()


def test_a_closed_folder_of_predictions_or_of_a_data_set_is_told(
    tmp_path: Path, as_anybody: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    data = make_cityscapes(tmp_path / "city", train=1, val=2)
    words = ("eval", "--data", data, "--no-html", "-q", "--out", tmp_path / "out")
    (tmp_path / "ids" / "closed").mkdir(parents=True)
    write_png(tmp_path / "ids" / "closed" / "ulm_000000_000019.png", np.zeros((8, 8), np.uint8))
    done = as_anybody(*words, "--predictions", tmp_path / "ids", close=[tmp_path / "ids" / "closed"])
    assert done.returncode == 1
    assert "closed: this folder cannot be listed" in done.stderr
    save_checkpoint(tiny_checkpoint(), tmp_path / "net.pt")
    val = data / "leftImg8bit" / "val" / "ulm"
    for command in ([*words, "-w", tmp_path / "net.pt"], ["download-check", "--data", data, "--deep"]):
        done = as_anybody(*command, close=[val])
        assert done.returncode == 1
        assert "ulm: this folder cannot be listed" in done.stdout + done.stderr


def test_download_check_on_names_and_loops(place: Path, tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in NAMES:
            write_png(tmp_path / "x.png", np.full((8, 8), 255, np.uint8))
            (tmp_path / "x.png").rename(tmp_path / folder / name)
        (tmp_path / folder / "loop").symlink_to(tmp_path / folder)
        os.mkfifo(tmp_path / folder / "fifo.png")
    done = run("download-check", "--data", tmp_path, "--deep", "--json")
    assert done.exit_code in (0, 3), done.output
    assert json.loads(done.stdout)["headers_read"] == len(NAMES)
    shown = run("download-check", "--data", tmp_path, "--deep")
    assert "\x1b]0" not in shown.output


# ---------------------------------------------------------------- bombs


def bomb_png(width: int, height: int, packed: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def zeros(count: int) -> bytes:
    """Zeros, packed."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(count >> 20)) + packer.flush()


def text_bomb() -> bytes:
    picture = io.BytesIO()
    Image.fromarray(street(0)[0]).save(picture, "PNG")
    data = picture.getvalue()
    text = png_chunk(b"zTXt", b"a\0\0" + zeros(1 << 26))
    return data[:33] + text + data[33:]


def huge(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(file, kind)
    data = bytearray(file.getvalue())
    if kind == "TIFF":  # ImageWidth and ImageLength
        for tag in (256, 257):
            place = data.index(
                struct.pack("<HH", tag, 4)
                if struct.pack("<HH", tag, 4) in data
                else struct.pack("<HH", tag, 3)
            )
            data[place + 2 : place + 12] = struct.pack("<HII", 4, 1, 60_000)
    else:
        data[18:26] = struct.pack("<ii", 60_000, 60_000)
    return bytes(data)


BOMBS: dict[str, Callable[[], bytes]] = {
    "wide.png": lambda: bomb_png(60_000, 60_000, zeros(1 << 20)),
    "more than it says.png": lambda: bomb_png(16, 16, zeros(1 << 26)),
    "text.png": text_bomb,
    "wide.bmp": lambda: huge("BMP"),
    "wide.tif": lambda: huge("TIFF"),
    "wide.webp": lambda: b"RIFF\x1e\0\0\0WEBPVP8L\x11\0\0\0\x2f\xff\xff\xff\x0f" + bytes(13),
    "wide.ppm": lambda: b"P6 60000 60000 255\n" + bytes(100),
    "wide.gif": lambda: (
        b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\2\2D\1\0;"
    ),
}


@pytest.mark.parametrize("behind", [b"", b"\xff\xe0junk"])
def test_a_jpeg_of_endless_scans_is_refused(tmp_path: Path, behind: bytes) -> None:
    """A progressive JPEG: each scan is a few bytes and takes the time of all its pixels."""
    file = io.BytesIO()
    Image.fromarray(street(0, 256, 256)[0]).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:last] + behind + data[last:-2] * 2000 + b"\xff\xd9")
    began = time.process_time()
    with pytest.raises(MediaError, match="scans"):
        read_rgb(path)
    assert time.process_time() - began < 2
    path.write_bytes(data + bytes(range(256)) * 4000 + b"\xff\xda" * 20)  # a film behind it is none
    assert read_rgb(path).shape == (256, 256, 3)


def test_a_video_that_is_a_list_or_a_pipe_is_refused(tmp_path: Path) -> None:
    """It would read other files than the one that was given."""
    film = make_clip(tmp_path / "film.mp4", count=3)
    for name, text in {
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile:{film}\n#EXT-X-ENDLIST\n",
        "b.mp4": f"ffconcat version 1.0\nfile {film}\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(MediaError, match="is no video that can be opened"):
            FFmpegReader(str(tmp_path / name), lambda height, width: (height, width))
    os.mkfifo(tmp_path / "c.mp4")
    with pytest.raises(MediaError, match="no regular file"):
        FFmpegReader(str(tmp_path / "c.mp4"), lambda height, width: (height, width))


@pytest.mark.parametrize("name", BOMBS)
def test_decompression_bombs(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(BOMBS[name]())
    assert path.stat().st_size < 2 << 20
    began = time.process_time()
    with contextlib.suppress(MediaError):
        assert read_rgb(path).size < 1 << 20  # what is packed beside the pixels may be passed over
    if name.startswith("wide") and path.suffix in (".png", ".tif"):
        sample = Sample(path, path, ENCODINGS["road-mask"], split="", group="", key="")
        with pytest.raises(DatasetError):
            read_label(sample, get_scheme("road"))
    assert time.process_time() - began < 5


def test_a_label_never_starts_another_program(tmp_path: Path) -> None:
    """Pillow would hand PostScript to Ghostscript, whatever the file's name."""
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    sample = Sample(path, path, ENCODINGS["road-mask"], split="", group="", key="")
    with pytest.raises(DatasetError, match="is no picture"):
        read_label(sample, get_scheme("road"))


def test_a_video_of_huge_pictures(tmp_path: Path) -> None:
    path = tmp_path / "a.y4m"
    path.write_bytes(b"YUV4MPEG2 W60000 H60000 F25:1 C420jpeg\nFRAME\n" + bytes(1000))
    with pytest.raises(MediaError):
        list(FFmpegReader(str(path), lambda height, width: (32, 32)))


@pytest.mark.parametrize("codec", ["libx264", "ffv1", "mpeg4"])
def test_a_frame_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str) -> None:
    path = make_clip(tmp_path / "a.mkv", 4, (48, 64), codec=codec, options={"g": "6"})
    with FFmpegReader(str(path), lambda height, width: (32, 32)) as reader:
        assert len(list(reader)) == 4
    monkeypatch.setattr(video_source, "_MOST_PIXELS", 48 * 64 - 1)
    with pytest.raises(MediaError, match="not one frame"):
        FFmpegReader(str(path), lambda height, width: (32, 32))


def test_json_nested_too_deeply(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" * 200_000)
    with pytest.raises(DatasetError, match="not a label scheme"):
        get_scheme(str(path))
    with pytest.raises(ConfigError, match="nested too deeply"):
        TrainConfig.from_dict(read_recipe(str(path)))
    description = "[" * 200_000
    header = json.dumps({"__metadata__": {"roadseg": description}}).encode()
    weights = tmp_path / "deep.safetensors"
    weights.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="not JSON"):
        load_checkpoint(weights)


# ---------------------------------------------------------------- archives


def test_archives_are_listed_and_never_unpacked(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    with zipfile.ZipFile(root / "slip.zip", "w") as archive:
        archive.writestr("../outside.png", b"x")
        archive.writestr("/tmp/roadseg-absolute.png", b"x")
        archive.writestr("x" * 300 + ".png", b"x")  # longer than disks allow
    with tarfile.open(root / "slip.tar.gz", "w:gz") as archive:
        for name, kind in (
            ("../up.png", tarfile.REGTYPE),
            ("link", tarfile.SYMTYPE),
            ("dev", tarfile.CHRTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    done = run("download-check", "--data", root, "--json")
    assert done.exit_code == 1
    assert [problem["kind"] for problem in json.loads(done.stdout)["problems"]].count("packed-archive") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["data", "slip.tar.gz", "slip.zip"]


@pytest.mark.parametrize("kind", ["members", "name"])
def test_a_packed_tar_of_zeros_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A member, or the name of one, that claims a terabyte."""
    monkeypatch.setattr(archives, "_HEAD", 1 << 22)
    header = tarfile.TarInfo("a.png")
    header.size = 1 << 40
    header.type = tarfile.REGTYPE if kind == "members" else tarfile.GNUTYPE_LONGNAME
    packer = zlib.compressobj(1, wbits=31)
    data = packer.compress(header.tobuf(tarfile.GNU_FORMAT))
    data += b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    (tmp_path / "a.tar.gz").write_bytes(data)
    began = time.process_time()
    (archive,) = find_archives(tmp_path)
    assert archive.state == ("packed" if kind == "members" else "damaged")
    assert time.process_time() - began < 2


# ---------------------------------------------------------------- weights


def test_weights_that_claim_a_terabyte(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensor = {"dtype": "F32", "shape": [1 << 38], "data_offsets": [0, 1 << 40]}
    header = json.dumps({"a": tensor}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(100))
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)
    path.write_bytes((1 << 40).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_packed_weights_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.pt", tmp_path / "a.pt"
    save_checkpoint(tiny_checkpoint(), whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
        target.writestr("archive/data/bomb", bytes(1 << 27))
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_a_flipped_bit_in_the_weights_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    checkpoint = tiny_checkpoint()
    save_checkpoint(checkpoint, path)
    data = bytearray(path.read_bytes())
    weights = checkpoint.model.head.weight.detach().numpy().tobytes()
    data[data.index(weights) + len(weights) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_a_pipe_is_no_picture_no_label_and_no_weights(tmp_path: Path) -> None:
    pipe = tmp_path / "a.png"
    os.mkfifo(pipe)

    def ask() -> None:
        sample = Sample(pipe, pipe, ENCODINGS["road-mask"], split="", group="", key="")
        for question in (
            lambda: read_rgb(pipe),
            lambda: load_checkpoint(pipe),
            lambda: read_label(sample, get_scheme("road")),
        ):
            with pytest.raises(RoadsegError):
                question()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(20)
    assert not asking.is_alive(), "it waits for the other end"


def test_find_images_gives_every_name_as_it_is(place: Path) -> None:
    found = {job.relative.as_posix() for job in find_images(place / "in")}
    assert set(NAMES) <= found
    assert all(".." not in Path(name).parts for name in found)
    assert torch.get_num_threads() == 1


def test_eval_takes_large_pictures_where_they_are_allowed(tmp_path: Path, tiny_weights: Path) -> None:
    root = make_cityscapes(tmp_path / "city", train=1, val=1)
    for path in (root / "leftImg8bit/val").rglob("*.png"):
        write_png(path, np.zeros((1000, 1200, 3), np.uint8))
    for path in (root / "gtFine/val").rglob("*.png"):
        write_png(path, np.full((1000, 1200), 7, np.uint8))
    words = ("eval", "--data", root, "-w", tiny_weights, "--no-html", "--max-megapixels")
    refused = run(*words, 1, "--out", tmp_path / "a")
    assert (refused.exit_code, "more than 1 million pixels" in refused.stderr) == (1, True)
    assert run(*words, 2, "--out", tmp_path / "b").exit_code == 0

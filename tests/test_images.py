import contextlib
import io
import os
import random
import struct
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import mutants
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from roadseg.errors import MediaError, OutputError
from roadseg.media import images, jpeg, output, png
from roadseg.media.images import (
    ImageJob,
    find_images,
    output_stems,
    read_rgb,
    write_mask,
    write_rgb,
    write_text,
)

HEIGHT, WIDTH = 48, 80


@pytest.fixture
def picture() -> Image.Image:
    """A slightly noisy 80x48 picture in which every corner has its own colour."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    rgb = np.stack([x * 3, y * 5, 250 - x - y], axis=-1)
    noise = np.random.default_rng(0).integers(0, 5, rgb.shape)
    return Image.fromarray((rgb + noise).astype(np.uint8))


def encoded(picture: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


def save(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def touch(folder: Path, *names: str) -> None:
    for name in names:
        save(folder / name, b"not opened here")


def relatives(jobs: list[ImageJob]) -> list[str]:
    return [job.relative.as_posix() for job in jobs]


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}, {"quality": 30}]
)
def test_the_fast_jpeg_path_gives_what_pillow_gives(
    tmp_path: Path, picture: Image.Image, options: dict[str, object]
) -> None:
    data = encoded(picture, **options)
    assert jpeg.walk(data) == "whole"
    rgb = read_rgb(save(tmp_path / "a.jpg", data))
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    assert rgb.flags.writeable
    np.testing.assert_array_equal(rgb, np.asarray(Image.open(io.BytesIO(data))))


def test_a_jpeg_that_opencv_cannot_decode_is_left_to_pillow(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.jpg", encoded(picture))
    fast = read_rgb(path)
    monkeypatch.setattr(jpeg, "decode", lambda data: None)
    np.testing.assert_array_equal(read_rgb(path), fast)


def test_bytes_after_the_end_of_a_jpeg_do_not_matter(tmp_path: Path, picture: Image.Image) -> None:
    data = encoded(picture) + b"\x00 a phone's film clip \xff\xd8\xff"
    assert read_rgb(save(tmp_path / "a.jpg", data)).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": True}])
def test_a_jpeg_cut_anywhere_or_with_a_blank_tail_is_refused(
    tmp_path: Path, picture: Image.Image, options: dict[str, object]
) -> None:
    if "exif" in options:  # a whole JPEG inside: the end of the thumbnail is not the end of the picture
        options = {"exif": b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00" + encoded(picture.resize((16, 16)))}
    data = encoded(picture, **options)
    start = data.rindex(b"\xff\xda")
    for cut in (*range(start, len(data) - 1, 7), len(data) - 1):
        for damaged in (data[:cut], data[:cut] + bytes(len(data) - cut)):
            with pytest.raises(MediaError, match=r"a\.jpg: .*(truncated|damaged|no picture)"):
                read_rgb(save(tmp_path / "a.jpg", damaged))


def test_the_walk_never_trusts_a_jpeg_that_pillow_refuses(picture: Image.Image) -> None:
    rng = np.random.default_rng(0)
    data = encoded(picture)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        for position in rng.integers(2, len(data), 4):
            damaged[position] = int(rng.integers(256))
        try:
            np.asarray(Image.open(io.BytesIO(bytes(damaged))))
        except Exception:
            refused += 1
            assert jpeg.walk(bytes(damaged)) != "whole" or jpeg.decode(bytes(damaged)) is None
    assert refused > 20


@pytest.mark.parametrize(
    ("suffix", "kind", "options"),
    [
        (".png", "PNG", {}),
        (".bmp", "BMP", {}),
        (".ppm", "PPM", {}),
        (".webp", "WEBP", {"lossless": True}),
        (".tif", "TIFF", {}),
        (".tif", "TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_other_formats_are_read_exactly_and_refused_when_cut(
    tmp_path: Path, picture: Image.Image, suffix: str, kind: str, options: dict[str, object]
) -> None:
    data = encoded(picture, kind, **options)
    path = save(tmp_path / f"a{suffix}", data)
    np.testing.assert_array_equal(read_rgb(path), np.asarray(picture))
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(MediaError, match="a"):
            read_rgb(save(path, data[: int(len(data) * share)]))


def test_a_flipped_bit_in_a_png_is_found_wherever_it_is(tmp_path: Path) -> None:
    pixels = np.kron(np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5, np.ones((6, 6, 1), np.uint8))
    sound = encoded(Image.fromarray(pixels), "PNG")
    for i in range(8, len(sound)):  # behind the signature
        data = bytearray(sound)
        data[i] ^= 16
        with contextlib.suppress(MediaError):  # else it hit what does not matter, as in the last chunk's name
            np.testing.assert_array_equal(read_rgb(save(tmp_path / "a.png", bytes(data))), pixels)


# For each EXIF orientation: what Pillow's own exif_transpose does, written out by hand.
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("level", [0, 1, 9])
def test_the_fast_png_path_gives_what_pillow_gives(picture: Image.Image, level: int) -> None:
    info = PngInfo()
    info.add(b"gAMA", (22000).to_bytes(4, "big"))  # of which neither takes notice
    info.add(b"cHRM", bytes(32))
    info.add(b"sBIT", b"\5\6\5")
    info.add(b"bKGD", bytes(6))
    info.add(b"tIME", bytes(7))
    for image in (picture, picture.crop((0, 0, 1, 1)), picture.resize((700, 300))):
        for options in ({}, {"pnginfo": info}, {"dpi": (72, 72)}, {"icc_profile": b"no profile"}):
            data = encoded(image, "PNG", compress_level=level, **options)
            found = png.decode(data)
            assert found is not None
            np.testing.assert_array_equal(found, np.asarray(image))


def test_plain_pngs_are_read_the_fast_way(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.png", encoded(picture, "PNG"))
    monkeypatch.setattr(images, "_to_rgb", None)
    np.testing.assert_array_equal(read_rgb(path), np.asarray(picture))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH - 1)
    with pytest.raises(MediaError, match="more than"):
        read_rgb(path)


def test_a_png_that_means_more_than_its_pixels_is_left_to_pillow(picture: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    others = [encoded(picture.convert(mode), "PNG") for mode in ("RGBA", "P", "L", "1", "I;16")]
    others += [
        encoded(picture, "PNG", exif=exif),
        encoded(picture, "PNG", save_all=True, append_images=[picture.rotate(180)]),
        encoded(picture, "PNG", transparency=(3, 4, 5)),
        cv2.imencode(".png", np.asarray(picture).astype(np.uint16) * 257)[1].tobytes(),
        encoded(picture),
    ]
    for kind in (b"tEXt", b"iTXt", b"zTXt", b"PLTE", b"cICP", b"prVt"):
        others.append(
            with_chunks(picture, lambda head, data, end, kind=kind: [head, (kind, b"abc"), data, end])
        )
    for other in others:
        assert png.decode(other) is None


Chunk = tuple[bytes, bytes]


def with_chunks(picture: Image.Image, order: Callable[[Chunk, Chunk, Chunk], list[Chunk]]) -> bytes:
    """The chunks that `order` makes of a PNG's three: header, pixels and end."""
    chunks = order(*mutants.png_chunks(encoded(picture, "PNG")))
    return b"\x89PNG\r\n\x1a\n" + b"".join(mutants.png_chunk(*chunk) for chunk in chunks)


def test_a_png_that_is_no_legal_one_is_left_to_pillow(
    picture: Image.Image, capfd: pytest.CaptureFixture[str]
) -> None:
    time = (b"tIME", bytes(7))
    whole = encoded(picture, "PNG")
    assert png.decode(with_chunks(picture, lambda head, data, end: [head, time, data, end])) is not None
    for other in (
        whole[:8],
        whole[:-1],
        whole[8:],
        *(
            with_chunks(picture, order)
            for order in (
                lambda head, data, end: [head, data, time, end],
                lambda head, data, end: [head, data, time, data, end],
                lambda head, data, end: [time, head, data, end],
                lambda head, data, end: [head, head, data, end],
                lambda head, data, end: [head, end],
                lambda head, data, end: [head, (b"IDAT", b""), end],
                lambda head, data, end: [head, data, (b"IEND", b"1")],
                lambda head, data, end: [(b"IHDR", head[1] + b"1"), data, end],
                lambda head, data, end: [(b"IHDR", head[1][:-1] + b"\1"), data, end],  # interlaced
                lambda head, data, end: [(b"IHDR", (1_000_001).to_bytes(4, "big") + head[1][4:]), data, end],
            )
        ),
    ):
        assert png.decode(other) is None
    assert capfd.readouterr() == ("", "")


def test_the_fast_png_path_never_takes_what_pillow_refuses(
    picture: Image.Image, capfd: pytest.CaptureFixture[str]
) -> None:
    """Damage that checksums tell never gets as far as libpng, which would print of it."""
    data = encoded(picture, "PNG")
    rng = random.Random(0)
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.randrange(8)
        assert png.decode(bytes(damaged)) is None
    assert capfd.readouterr() == ("", "")
    taken = 0
    for number in range(300):  # the checksums fit, the pixels may not
        sealed = mutants.sealed_png(data, random.Random(number))
        found = png.decode(sealed)
        if found is not None:
            taken += 1
            np.testing.assert_array_equal(found, np.asarray(Image.open(io.BytesIO(sealed)).convert("RGB")))
    assert 10 < taken < 290


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(
    ("suffix", "kind", "options"),
    [
        (".png", "PNG", {}),
        (".jpg", "JPEG", {}),
        (".tif", "TIFF", {}),
        (".tif", "TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_pictures_are_turned_upright(
    tmp_path: Path, picture: Image.Image, orientation: int, suffix: str, kind: str, options: dict[str, object]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = read_rgb(save(tmp_path / f"plain{suffix}", encoded(picture, kind, **options)))
    turned = read_rgb(save(tmp_path / f"turned{suffix}", encoded(picture, kind, exif=exif, **options)))
    np.testing.assert_array_equal(turned, TURNS[orientation](plain))
    assert turned.flags.c_contiguous
    assert min(turned.strides) > 0


def test_damaged_exif_does_not_condemn_sound_pixels(tmp_path: Path, picture: Image.Image) -> None:
    path = save(tmp_path / "a.jpg", encoded(picture, exif=b"Exif\x00\x00not a TIFF header"))
    assert read_rgb(path).shape == (HEIGHT, WIDTH, 3)


def test_grey_one_bit_and_palette_pictures(tmp_path: Path) -> None:
    grey = np.array([[0, 100], [200, 255]], np.uint8)
    path = save(tmp_path / "grey.png", encoded(Image.fromarray(grey), "PNG"))
    assert read_rgb(path)[..., 1].tolist() == grey.tolist()

    path = save(tmp_path / "bits.png", encoded(Image.fromarray(grey > 150), "PNG"))
    assert read_rgb(path).tolist() == [[[0] * 3] * 2, [[255] * 3] * 2]

    indexed = Image.fromarray(np.array([[0, 1], [2, 0]], np.uint8))
    indexed.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    expected = [[[10, 20, 30], [40, 50, 60]], [[70, 80, 90], [10, 20, 30]]]
    assert read_rgb(save(tmp_path / "p.png", encoded(indexed, "PNG"))).tolist() == expected
    assert read_rgb(save(tmp_path / "p.gif", encoded(indexed, "GIF"))).tolist() == expected
    expected[0][1] = [0, 0, 0]  # index 1 is transparent now
    path = save(tmp_path / "pt.png", encoded(indexed, "PNG", transparency=1))
    assert read_rgb(path).tolist() == expected


def test_what_is_transparent_shows_black(tmp_path: Path) -> None:
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 128]]], np.uint8)
    path = save(tmp_path / "rgba.png", encoded(Image.fromarray(rgba), "PNG"))
    assert read_rgb(path).tolist() == [[[200, 100, 50], [0, 0, 0], [100, 50, 25]]]

    la = np.array([[[200, 255], [200, 0]]], np.uint8)
    path = save(tmp_path / "la.png", encoded(Image.fromarray(la), "PNG"))
    assert read_rgb(path).tolist() == [[[200] * 3, [0] * 3]]

    rgb = Image.fromarray(np.array([[[1, 2, 3], [9, 9, 9]]], np.uint8))
    path = save(tmp_path / "key.png", encoded(rgb, "PNG", transparency=(9, 9, 9)))
    assert read_rgb(path).tolist() == [[[1, 2, 3], [0, 0, 0]]]


@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "JPEG"), (".tif", "TIFF")])
def test_cmyk_is_not_inverted(tmp_path: Path, suffix: str, kind: str) -> None:
    # Pillow writes JPEGs as Adobe does, inverted; TIFFs straight.
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan, full magenta and yellow: red
    rgb = read_rgb(save(tmp_path / f"a{suffix}", encoded(cmyk, kind)))
    assert rgb[8, 8, 0] > 240
    assert rgb[8, 8, 1:].max() < 15


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_keeps_its_high_byte(tmp_path: Path, suffix: str) -> None:
    grey = np.array([[0, 255, 256], [0x7FFF, 0x8000, 0xFFFF]], np.uint16)
    path = tmp_path / f"a{suffix}"
    assert cv2.imwrite(str(path), grey)
    rgb = read_rgb(path)
    assert rgb[..., 0].tolist() == [[0, 0, 1], [127, 128, 255]]
    assert (rgb == rgb[..., :1]).all()


def test_16_bit_grey_of_big_endian_tiff_and_pgm(tmp_path: Path) -> None:
    tags = [(256, 3, 1, 2), (257, 3, 1, 1), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 98)]
    tags += [(277, 3, 1, 1), (279, 4, 1, 4)]
    fields = b"".join(
        struct.pack(">HHI", tag, kind, count)
        + struct.pack(">HH" if kind == 3 else ">I", *([value, 0][: 5 - kind]))
        for tag, kind, count, value in tags
    )
    header = b"MM\x00\x2a" + struct.pack(">IH", 8, len(tags)) + fields + bytes(4)
    data = header.ljust(98, b"\0") + bytes.fromhex("12340080")
    header = data.replace(struct.pack(">I", 98), struct.pack(">I", len(header)))[: len(header)]
    path = save(tmp_path / "be.tif", header + bytes.fromhex("1234ab80"))
    assert read_rgb(path)[0, :, 0].tolist() == [0x12, 0xAB]

    path = save(tmp_path / "a.pgm", b"P5 2 1 65535\n" + bytes.fromhex("1234ab80"))
    assert read_rgb(path)[0, :, 0].tolist() == [0x12, 0xAB]


def test_16_bit_grey_whose_zero_is_white(tmp_path: Path) -> None:
    grey = Image.fromarray(np.array([[0, 0x12FF, 0xFFFF]], np.uint16))
    grey.save(tmp_path / "a.tif", tiffinfo={262: 0})
    assert read_rgb(tmp_path / "a.tif")[0, :, 0].tolist() == [255, 0xED, 0]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_rgb_keeps_its_high_byte(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    bgr = np.array([[[0x1100, 0x22FF, 0x3380]]], np.uint16)
    assert cv2.imwrite(str(path), bgr)
    assert read_rgb(path).tolist() == [[[0x33, 0x22, 0x11]]]


@pytest.mark.parametrize(("mode", "kind"), [("F", "floats"), ("I", "32-bit numbers")])
def test_pixels_of_unknown_range_are_refused(tmp_path: Path, mode: str, kind: str) -> None:
    path = save(tmp_path / "a.tif", encoded(Image.new(mode, (4, 4)), "TIFF"))
    with pytest.raises(MediaError, match=f"{kind} of unknown range; save it with 8 or 16 bits"):
        read_rgb(path)


@pytest.mark.parametrize(("suffix", "kind"), [(".gif", "GIF"), (".tif", "TIFF"), (".webp", "WEBP")])
def test_the_first_frame_counts(tmp_path: Path, suffix: str, kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ((255, 0, 0), (0, 0, 255))]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    red, _, blue = read_rgb(save(tmp_path / f"a{suffix}", data))[4, 4].tolist()
    assert red > 200
    assert blue < 50


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path, picture: Image.Image) -> None:
    data = bytearray(encoded(picture, "PNG"))
    for side in (9_500, 60_000):  # above our limit; above the one at which Pillow itself gives up
        data[16:24] = struct.pack(">II", side, side)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        with pytest.raises(MediaError, match="more than 89 million pixels"):
            read_rgb(save(tmp_path / "bomb.png", bytes(data)))


def test_the_limit_holds_where_pillow_does_not_warn(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.png", encoded(picture, "PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH)
    read_rgb(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH - 1)
    with pytest.raises(MediaError, match="million pixels"):
        read_rgb(path)
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    with pytest.raises(MediaError, match="too large for a picture"):
        read_rgb(path)


def test_what_is_no_picture(tmp_path: Path) -> None:
    cases = {
        "missing.png": "no such file",
        "empty.png": "the file is empty",
        "folder.png": "is a folder",
        "text.png": "is no picture that can be read here",
        "evil.eps": "is no picture that can be read here",
        "nul\0.png": "cannot be read",
    }
    save(tmp_path / "empty.png", b"")
    save(tmp_path / "text.png", b"hello")
    save(tmp_path / "evil.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    (tmp_path / "folder.png").mkdir()
    for name, message in cases.items():
        with pytest.raises(MediaError, match=message):
            read_rgb(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_devices_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(MediaError, match="no regular file"):
            read_rgb(path)


def test_any_unicode_path_and_any_thread(tmp_path: Path, picture: Image.Image) -> None:
    names = ["straße 道路.jpg", "emoji 🚗.png", os.fsdecode(b"latin-\xe9.png")]
    for name in names:
        save(tmp_path / name, encoded(picture, "JPEG" if name.endswith("jpg") else "PNG"))
    with ThreadPoolExecutor(4) as pool:
        shapes = list(pool.map(lambda name: read_rgb(tmp_path / name).shape, names * 8))
    assert set(shapes) == {(HEIGHT, WIDTH, 3)}


# ---------------------------------------------------------------- finding


def test_a_folder_is_searched_below_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "b/frame10.JPG", "b/frame9.jpg", "b/frame09.jpg", "a10/x.png", "a2/x.png", "c.webp")
    touch(tmp_path, "notes.txt", ".hidden.jpg", ".git/x.png", "b/._frame9.jpg")
    jobs = find_images(tmp_path)
    expected = ["a2/x.png", "a10/x.png", "b/frame09.jpg", "b/frame9.jpg", "b/frame10.JPG", "c.webp"]
    assert relatives(jobs) == expected
    assert [job.path for job in jobs] == [tmp_path / name for name in expected]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.png", "elsewhere/b.png")
    (tmp_path / "in/up").symlink_to(tmp_path / "in")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "in")
    (tmp_path / "in/other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/broken.png").symlink_to(tmp_path / "nothing")  # found: to fail by itself when read
    expected = ["a.png", "broken.png", "other/b.png"]
    assert relatives(find_images(tmp_path / "in")) == expected
    assert relatives(find_images(str(tmp_path / "in/**/*.png"))) == expected


def test_the_output_folder_is_not_searched(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "out/masks/a.png")
    assert relatives(find_images(tmp_path, exclude=tmp_path / "out")) == ["a.png"]
    assert relatives(find_images(str(tmp_path / "**/*.png"), exclude=tmp_path / "out")) == ["a.png"]
    assert relatives(find_images(tmp_path, exclude=tmp_path / "not there yet")) == [
        "a.png",
        "out/masks/a.png",
    ]


def test_what_other_runs_wrote_below_an_input_is_no_input(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "old/masks/a.png", "old/overlays/a.png", "mine/masks/b.png")
    (tmp_path / "old/report-1of2.json").write_text('{\n  "schema": "roadseg/segment",\n')
    (tmp_path / "mine/report.json").write_text("{}")
    new = tmp_path / "new"
    assert relatives(find_images(tmp_path, exclude=new)) == ["a.png", "mine/masks/b.png"]
    assert relatives(find_images(tmp_path / "old/masks", exclude=new)) == ["a.png"], "asked for by name"
    assert len(find_images(tmp_path / "old", exclude=new)) == 2
    assert len(find_images(tmp_path)) == 4


def test_patterns(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "d1/f10.png",
        "d1/f9.png",
        "d2/f1.png",
        "d2/deep/f1.png",
        "d2/f1.json",
        "d2/.f.png",
        "f0.png",
    )
    (tmp_path / "d1/folder.png").mkdir()

    def found(pattern: str) -> list[str]:
        return relatives(find_images(str(tmp_path / pattern)))

    assert found("d*/f*.png") == ["d1/f9.png", "d1/f10.png", "d2/f1.png"]
    assert found("d1/*") == ["f9.png", "f10.png"]
    assert found("*/deep/*.png") == ["d2/deep/f1.png"]
    every = ["d1/f9.png", "d1/f10.png", "d2/deep/f1.png", "d2/f1.png", "f0.png"]
    assert found("**/*.png") == found("**") == every
    assert found("d2/**/f?.png") == ["deep/f1.png", "f1.png"]
    with pytest.raises(MediaError, match=r"x\*\.png: no picture matches \(looked for \.bmp \.gif"):
        found("x*.png")


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "a[1].png", "a1.png")
    assert relatives(find_images(tmp_path / "a[1].png")) == ["a[1].png"]


def test_a_list_is_relative_to_its_own_folder_and_keeps_its_order(tmp_path: Path) -> None:
    text = "\ufeff# frames\r\n\r\n  b.png \r\nsub/a.png\r\n./sub/../b.png\r\nnot there.png\r\n#c.png\r\n"
    path = save(tmp_path / "lists/all.TXT", text.encode())
    jobs = find_images(path)
    assert relatives(jobs) == ["b.png", "sub/a.png", "not there.png"]
    assert jobs[0].path == tmp_path / "lists/b.png"


def test_listed_paths_outside_never_leave_the_output_folder(tmp_path: Path) -> None:
    outside = tmp_path / "other/x.png"
    path = save(
        tmp_path / "lists/all.txt", f"../../../../../../../../../x.png\n{outside}\n../other/y.png".encode()
    )
    jobs = find_images(path)
    assert all(".." not in job.relative.parts and not job.relative.is_absolute() for job in jobs)
    assert jobs[0].relative == Path("x.png")
    assert jobs[1].relative == outside.relative_to(outside.anchor)
    assert jobs[2].relative == (tmp_path / "other/y.png").relative_to(outside.anchor)


def test_a_listed_path_outside_and_one_inside_have_names_of_their_own(tmp_path: Path) -> None:
    inside = (tmp_path / "x.png").relative_to(tmp_path.anchor)
    path = save(tmp_path / "lists/all.txt", f"{inside}\n{tmp_path / 'x.png'}\n{inside}".encode())
    assert [job.relative for job in find_images(path)] == [inside, Path("outside") / inside]


def test_standard_input_is_a_list_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = find_images("-", stdin=io.StringIO("\ufeffa.png\n\n# no\nb/c.png\n"))
    assert relatives(jobs) == ["a.png", "b/c.png"]
    assert jobs[0].path == Path("a.png")


def test_several_inputs_share_a_root_and_name_each_file_once(tmp_path: Path) -> None:
    touch(tmp_path, "cam1/0.png", "cam1/1.png", "cam2/0.png")
    assert relatives(find_images(tmp_path / "cam2", tmp_path / "cam1")) == [
        "cam2/0.png",
        "cam1/0.png",
        "cam1/1.png",
    ]
    # a pattern that the shell has expanded
    assert relatives(find_images(tmp_path / "cam1/1.png", tmp_path / "cam1/0.png")) == ["1.png", "0.png"]
    assert relatives(find_images(tmp_path / "cam1/1.png", tmp_path / "cam1")) == ["1.png", "0.png"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing", "nothing: no such file or folder"),
        ("empty", "empty: no pictures found in it or below (looked for .bmp .gif .jpeg"),
        ("blank.txt", "blank.txt: lists no pictures; write one path per line"),
        ("utf16.txt", "utf16.txt: the list is not UTF-8"),
        ("nul\0", "no such file or folder"),
        ("", "an empty name is given"),
    ],
)
def test_inputs_without_pictures(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    save(tmp_path / "blank.txt", b"\n# nothing\n")
    save(tmp_path / "utf16.txt", "a.png".encode("utf-16"))
    with pytest.raises(MediaError) as caught:
        find_images(tmp_path / source if source else source)
    assert message in str(caught.value)


def test_stems_are_short_and_never_the_same_twice() -> None:
    names = [
        "a.jpg",
        "a.png",
        "b.jpg",
        "sub/a.jpg",
        "c.tar.png",
        "D.png",
        "d.jpg",
        "x.jpg",
        "x.png",
        "x.jpg.png",
    ]
    stems = [stem.as_posix() for stem in output_stems([ImageJob(Path(n), Path(n)) for n in names])]
    assert stems[:7] == ["a.jpg", "a.png", "b", "sub/a", "c.tar", "D.png", "d.jpg"]
    assert stems[7:] == ["x.jpg", "x.png", "x.jpg~2"]
    dots = [ImageJob(Path(n), Path(n)) for n in ("..jpg", "...jpg", "a..jpg", "sub/..png")]
    assert [stem.as_posix() for stem in output_stems(dots)] == ["..jpg", "...jpg", "a.", "sub/..png"]
    # the same relative path twice: /data/x.jpg outside, data/x.jpg inside
    twice = [ImageJob(Path(p), Path("data/x.jpg")) for p in ("/data/x.jpg", "in/data/x.jpg")]
    assert [stem.as_posix() for stem in output_stems(twice)] == ["data/x.jpg", "data/x.jpg~2"]


# ---------------------------------------------------------------- writing


def test_a_road_mask_is_a_grey_png_of_0_and_255(tmp_path: Path) -> None:
    mask = np.array([[0, 255, 0], [255, 255, 0]], np.uint8)
    write_mask(tmp_path / "new/folder/m.png", mask)
    with Image.open(tmp_path / "new/folder/m.png") as written:
        assert (written.mode, written.format) == ("L", "PNG")
        np.testing.assert_array_equal(np.asarray(written), mask)


@pytest.mark.parametrize("classes", [2, 3, 7, 19])
def test_a_palette_mask_keeps_its_indices(tmp_path: Path, classes: int) -> None:
    mask = np.array([[*range(classes), 255]], np.uint8)
    colors = [(10 * k, 20, 255 - k) for k in range(classes)]
    write_mask(tmp_path / "m.png", mask, colors)
    with Image.open(tmp_path / "m.png") as written:
        assert written.mode == "P"
        np.testing.assert_array_equal(np.asarray(written), mask)
    assert read_rgb(tmp_path / "m.png")[0].tolist() == [*map(list, colors), [0, 0, 0]]
    assert (tmp_path / "m.png").read_bytes()[24] == 8  # bits per pixel, as other programs expect


def test_rgb_is_written_as_its_suffix_says(tmp_path: Path, picture: Image.Image) -> None:
    rgb = np.asarray(picture)
    write_rgb(tmp_path / "a.png", rgb)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), rgb)
    write_rgb(tmp_path / "a.jpg", rgb)
    assert np.abs(read_rgb(tmp_path / "a.jpg").astype(int) - rgb).mean() < 4
    with pytest.raises(ValueError, match="written as"):
        write_rgb(tmp_path / "a.gif", rgb)
    with pytest.raises(OutputError, match="too large for JPEG"):
        write_rgb(tmp_path / "wide.jpg", np.zeros((1, 65501, 3), np.uint8))


@pytest.mark.parametrize("wrong", [np.zeros((2, 2), np.int64), np.zeros((2, 2, 3), np.uint8)])
def test_a_mask_of_another_shape_or_type_is_a_bug(tmp_path: Path, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="HW uint8"):
        write_mask(tmp_path / "m.png", wrong)


def test_text_with_names_that_are_no_unicode_is_still_json(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", '"ü' + os.fsdecode(b"\xff") + '"')
    assert (tmp_path / "a.json").read_bytes() == b'"\xc3\xbc\\udcff"'


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["write", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, step: str
) -> None:
    path = tmp_path / "m.png"
    path.write_bytes(b"old")
    new_scratch = output._new_scratch

    class FullDisk(io.BufferedWriter):
        def write(self, data: object) -> int:
            super().write(b"half")
            raise failure

    def failing(folder: Path) -> tuple[Path, io.BufferedWriter]:
        scratch, file = new_scratch(folder)
        return scratch, FullDisk(file.detach())

    def fail(*arguments: object) -> None:
        raise failure

    monkeypatch.setattr(*((output, "_new_scratch", failing) if step == "write" else (os, "replace", fail)))
    expected = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else OutputError
    with pytest.raises(expected) as caught:
        write_mask(path, np.zeros((2, 2), np.uint8))
    if expected is OutputError:
        assert str(caught.value) == (
            f"{path}: cannot be written (No space left on device); "
            "free some space there, or choose another output folder"
        )
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_place_of_a_folder_and_the_reverse(tmp_path: Path) -> None:
    touch(tmp_path, "file")
    (tmp_path / "folder.png").mkdir()
    mask = np.zeros((2, 2), np.uint8)
    for path in (tmp_path / "file/m.png", tmp_path / "file/deep/m.png"):
        with pytest.raises(OutputError, match="a file is in the place of its folder"):
            write_mask(path, mask)
    with pytest.raises(OutputError, match="a folder is in its place"):
        write_mask(tmp_path / "folder.png", mask)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]


def test_longest_names_and_common_permissions(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".png")
    previous = os.umask(0o022)
    try:
        write_mask(path, np.zeros((2, 2), np.uint8))
    finally:
        os.umask(previous)
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_picture_too_large_for_a_png(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MediaError, match="too large"):
        write_mask(tmp_path / "a.png", np.zeros((1, 1_000_001), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_two_threads_that_write_one_file_leave_one_whole_file(tmp_path: Path) -> None:
    start = threading.Barrier(4)

    def write(value: int) -> None:
        start.wait()
        for _ in range(20):
            write_mask(tmp_path / "m.png", np.full((64, 64), value, np.uint8))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(np.unique(read_rgb(tmp_path / "m.png"))) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_the_lock_lies_inside_where_nobody_may_write_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    monkeypatch.setattr(output.os, "access", lambda *_: False)
    with output.alone_at(place):
        assert [path.name for path in place.iterdir()] == [".roadseg.lock"]
        assert [path.name for path in tmp_path.iterdir()] == ["mounted"]
        assert output.is_empty(place), "a run may begin there"
        (place / "mine.txt").touch()
        assert not output.is_empty(place)
        (place / "mine.txt").unlink()
    assert not any(place.iterdir())


def test_a_lock_leaves_no_folders(tmp_path: Path) -> None:
    with output.alone_at(tmp_path / "runs/train/a"):
        assert (tmp_path / "runs/train/.a.lock").exists()
    assert not any(tmp_path.iterdir())
    with output.alone_at(tmp_path / "runs/train/a"):
        (tmp_path / "runs/train/a").mkdir()
    assert (tmp_path / "runs/train/a").is_dir()

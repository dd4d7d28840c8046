"""Damage for fuzz tests: seeds of every format, and what becomes of them under a seeded hand.

Blind damage (bits, bytes, cuts, spans) alone would hardly get behind the checksums, so each format with an
outer seal also has a mutator that damages what is inside and seals it again.
"""

import copy
import io
import json
import math
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

Mutator = Callable[[bytes, random.Random], bytes]

# Numbers that sizes, counts and offsets go wrong at.
_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def damage(data: bytes, rng: random.Random) -> bytes:
    """Blind damage, one to four times: bits, bytes, numbers at their edges, spans, cuts."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if not out:
            break
        # half of it near the front, where headers are
        place = rng.randrange(min(len(out), 128) if rng.random() < 0.5 else len(out))
        end = min(len(out), place + rng.choice((1, 2, 8, 64, 1024)))
        kind = rng.randrange(8)
        if kind == 0:
            out[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[place] = rng.randrange(256)
        elif kind == 2:
            size = rng.choice((1, 2, 4, 8))
            number = rng.choice(_EDGES) & ((1 << 8 * size) - 1)
            out[place : place + size] = number.to_bytes(size, rng.choice(("big", "little")))
        elif kind == 3:
            del out[place:end]
        elif kind == 4:
            out[place:place] = out[place:end]
        elif kind == 5:
            out[place:end] = bytes(end - place)
        elif kind == 6:
            out[place:end] = rng.randbytes(end - place)
        else:
            del out[place:]
    return bytes(out)


# ---------------------------------------------------------------- pictures


def picture_seeds() -> dict[str, bytes]:
    """One small file of each kind of picture, by name; the suffix is the format's."""
    y, x = np.mgrid[0:40, 0:56]
    noise = np.random.default_rng(0).integers(0, 9, (40, 56, 3))
    rgb = Image.fromarray((np.stack([x * 4, y * 6, 240 - x - y], axis=-1) + noise).astype(np.uint8))
    grey16 = Image.fromarray((x * 1000 + y * 7).astype(np.uint16))
    rgba = rgb.convert("RGBA")
    rgba.putalpha(Image.fromarray((y * 6).astype(np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "plain.jpg": (rgb, {}),
        "progressive.jpg": (rgb, {"progressive": True}),
        "restarts.jpg": (rgb, {"restart_marker_rows": 1, "subsampling": 0}),
        "turned.jpg": (rgb, {"exif": exif}),
        "grey.jpg": (rgb.convert("L"), {}),
        "cmyk.jpg": (rgb.convert("CMYK"), {}),
        "rgb.png": (rgb, {}),
        "grey16.png": (grey16, {}),
        "palette.png": (rgb.quantize(32), {}),
        "alpha.png": (rgba, {}),
        "onebit.png": (rgb.convert("1"), {}),
        "turned.png": (rgb, {"exif": exif}),
        "rgb.bmp": (rgb, {}),
        "palette.bmp": (rgb.quantize(16), {}),
        "lossy.webp": (rgb, {}),
        "lossless.webp": (rgba, {"lossless": True, "exif": exif}),
        "raw.tif": (rgb, {}),
        "lzw.tif": (rgb, {"compression": "tiff_lzw"}),
        "deflate.tif": (grey16, {"compression": "tiff_adobe_deflate"}),
        "jpeg.tif": (rgb, {"compression": "jpeg"}),
        "group4.tif": (rgb.convert("1"), {"compression": "group4"}),
        "packbits.tif": (rgba, {"compression": "packbits"}),
        "animated.gif": (rgb.quantize(32), {"save_all": True, "append_images": [rgb.quantize(8)]}),
        "rgb.ppm": (rgb, {}),
        "grey.pgm": (rgb.convert("L"), {}),
    }
    seeds = {}
    for name, (picture, options) in kinds.items():
        file = io.BytesIO()
        suffix = name.rpartition(".")[2]
        kind = {"jpg": "JPEG", "tif": "TIFF", "pgm": "PPM"}.get(suffix, suffix.upper())
        picture.save(file, kind, **options)
        seeds[name] = file.getvalue()
    return seeds


def label_seeds() -> dict[str, bytes]:
    """Label files as the encodings have them: indices, a palette, 1 bit, colours, 16 bits."""
    values = np.kron(np.array([[0, 1, 7], [7, 11, 255]], np.uint8), np.ones((16, 16), np.uint8))
    index = Image.fromarray(values)
    palette = Image.fromarray(values)
    palette.putpalette([part for i in range(256) for part in (i, 255 - i, i ^ 85)])
    seeds = {}
    for name, picture in {
        "index": index,
        "palette": palette,
        "onebit": Image.fromarray(values == 7),
        "color": index.convert("RGB"),
        "wide": Image.fromarray(values.astype(np.uint16)),
    }.items():
        file = io.BytesIO()
        picture.save(file, "PNG")
        seeds[f"{name}.png"] = file.getvalue()
    return seeds


def sealed_png(data: bytes, rng: random.Random) -> bytes:
    """Damage in one chunk of a PNG, of its pixels before they were packed, with the checksum that fits."""
    chunks = list(png_chunks(data))
    number = rng.randrange(len(chunks))
    kind, body = chunks[number]
    if kind == b"IDAT" and rng.random() < 0.7:
        body = zlib.compress(damage(zlib.decompress(body), rng))
    elif body:
        body = damage(body, rng)
    chunks[number] = kind, body
    if rng.random() < 0.2:
        chunks.insert(rng.randrange(len(chunks)), rng.choice(chunks))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, body) for kind, body in chunks)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and bodies of the chunks."""
    place = 8
    while place + 8 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + size]
        place += 12 + size


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# ---------------------------------------------------------------- JSON


_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.5, 1e308, math.nan, math.inf,
    "", "road", "a" * 5000, "\x00", "\ud800", "../..", "=cmd|' /C calc'!A0", "<img src=x onerror=alert(1)>",
    [], {}, [[]], [None], [[[[[]]]]], {"": None}, ["road"] * 300, [2**40] * 6, [99] * 6, "2026-01-01", "1/0",
)  # fmt: skip


def odd_json(data: bytes, rng: random.Random) -> bytes:
    """A JSON document with one to three of its values replaced, dropped, doubled or renamed."""
    document = json.loads(data)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(document))
        if not places:
            break
        holder, key = rng.choice(places)
        kind = rng.randrange(5)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, list):
            holder.insert(key, holder[key])
        elif kind == 1:
            holder[rng.choice(("x", "", f"{key} "))] = holder.pop(key)
        elif kind == 2:
            other, place = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[place]))  # a copy: no document holds itself
        else:
            holder[key] = copy.deepcopy(rng.choice(_ODD_VALUES))
    return json.dumps(document).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (holder, key or index) in a document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield value, key
        yield from _places(inner)


# ---------------------------------------------------------------- checkpoints


def sealed_zip(data: bytes, rng: random.Random) -> bytes:
    """Damage in one member of a zip (of a .pt: its pickle, mostly), stored with the checksum that fits."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    number = next((i for i, (name, _) in enumerate(members) if name.endswith("data.pkl")), 0)
    if rng.random() < 0.3:
        number = rng.randrange(len(members))
    name, body = members[number]
    members[number] = name, damage(body, rng)
    if rng.random() < 0.1:
        del members[rng.randrange(len(members))]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, body in members:
            archive.writestr(name, body)
    return file.getvalue()


def sealed_safetensors(data: bytes, rng: random.Random) -> bytes:
    """Damage in the header of a safetensors file, or in the JSON of its metadata; its length is true."""
    size = int.from_bytes(data[:8], "little")
    header, tensors = data[8 : 8 + size], data[8 + size :]
    kind = rng.randrange(3)
    if kind == 0:
        header = odd_json(header, rng)
    elif kind == 1:
        header = damage(header, rng)
    else:
        document = json.loads(header)
        inner = document["__metadata__"]
        inner["roadseg"] = odd_json(inner["roadseg"].encode(), rng).decode()
        header = json.dumps(document).encode()
    return len(header).to_bytes(8, "little") + header + tensors

"""The torch data set of training: decoded once, kept as resized uint8, augmented afresh every epoch."""

import contextlib
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from torchvision import tv_tensors
from torchvision.transforms import v2

from roadseg.config import Cache
from roadseg.cores import available_cores
from roadseg.dataset.inspect import Finding, inspect_pair
from roadseg.dataset.samples import Sample, read_pair
from roadseg.errors import DatasetError, OutputError
from roadseg.labels import SCHEMES, VOID, LabelScheme
from roadseg.media.output import replacing, write_text
from roadseg.media.resize import fit_size, resize_rgb

UInt8 = NDArray[np.uint8]
Progress = Callable[[int, int], None]
Pair = tuple[UInt8, UInt8]
Key = tuple[int, int, int]
"""Of an item: epoch (from 1), step in it (from 0), and index among the samples."""

# Pictures are kept up to this much larger than the network sees them, so that zooming in stays sharp.
CACHE_MARGIN = 1.25


def rest_class(scheme: LabelScheme) -> int:
    """The class of what is nothing else; void where there is none.

    A user's own classes mean what the user says: void stays void.
    """
    built_in = _built_in(scheme)
    return VOID if built_in is None or built_in.rest is None else built_in.rest


def own_car_class(scheme: LabelScheme) -> int:
    """The class that the own car's bonnet is learnt as: that of all the rest, or that of cars."""
    cars = [i for i, name in enumerate(scheme.classes) if name.casefold() in ("car", "vehicle", "vehicles")]
    rest = rest_class(scheme)
    return cars[0] if rest == VOID and cars and _built_in(scheme) else rest


def _built_in(scheme: LabelScheme) -> LabelScheme | None:
    if scheme.values:
        return None
    return next((known for known in SCHEMES.values() if known.classes == scheme.classes), None)


def label_own_car(label_HW: UInt8, own_car: int) -> UInt8:
    """Return the label with its own car's bonnet as the class `own_car` instead of void.

    Cityscapes and others leave the bonnet void, so that a network is never told what it is and calls it road
    on cameras that it has not seen. It is the void region that touches the bottom over at least half of the
    width; only its part in the lowest third counts, since void regions may run together. Its edge stays void:
    it is soft, and labels leave a margin around it. Learnt as the own car, that margin costs a point of road
    IoU on Cityscapes val, where road begins beside it.
    """
    void_HW = (label_HW == VOID).astype(np.uint8)
    if void_HW[-1].mean() < 0.5:
        return label_HW
    top = label_HW.shape[0] * 2 // 3
    _, region_hW = cv2.connectedComponents(void_HW[top:])
    bottom = np.unique(region_hW[-1])
    own_hW = np.isin(region_hW, bottom[bottom > 0]).astype(np.uint8)
    margin = max(1, round(label_HW.shape[0] / 64))
    inner_hW = cv2.erode(own_hW, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8))
    out_HW = label_HW.copy()
    out_HW[top:][inner_hW > 0] = own_car
    return out_HW


def read_small_pair(sample: Sample, scheme: LabelScheme, side: int) -> Pair:
    """Read picture and label of a sample, no longer than `side`: rgb_HWC and label_HW, uint8 of one size.

    Raises MediaError or DatasetError naming the file; also when picture and label differ in size.
    """
    rgb_HWC, label_HW = read_pair(sample, scheme)
    if own_car_class(scheme) != VOID:
        label_HW = label_own_car(label_HW, own_car_class(scheme))
    if max(label_HW.shape) > side:
        height, width = fit_size(label_HW.shape[0], label_HW.shape[1], side)
        image_CHW = torch.from_numpy(rgb_HWC).permute(2, 0, 1)
        rgb_HWC = resize_rgb(image_CHW, (height, width)).permute(1, 2, 0).contiguous().numpy()
        nearest = cv2.resize(label_HW, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        label_HW = nearest.astype(np.uint8)
    return rgb_HWC, label_HW


def require_good_labels(
    samples: Sequence[Sample], scheme: LabelScheme, progress: Progress | None = None
) -> None:
    """Decode every picture and label, so that a bad one is told of before hours of work, not after.

    Raises DatasetError naming the first bad file, and how many there are.
    """

    def faults(sample: Sample) -> list[Finding]:
        return list(inspect_pair(sample, scheme, deep=True, decode=True))

    found: list[Finding] = []
    with ThreadPoolExecutor(max_workers=min(8, available_cores())) as pool:
        for i, findings in enumerate(pool.map(faults, samples)):
            found += findings
            if progress:
                progress(i + 1, len(samples))
    if found:
        more = f" ({len(found) - 1} more files are bad, too)" if len(found) > 1 else ""
        raise DatasetError(
            f"{found[0].path}: {found[0].why}{more}; `roadseg download-check --deep` lists every problem"
        )


class SegmentationDataset(Dataset[tuple[Tensor, Tensor]]):
    """Samples as (image_CHW uint8 RGB, label_HW uint8 with void 255), augmented.

    An item's key is (epoch, step, index): with the seed it fixes every random choice of its augmentation,
    whatever worker makes it and whether or not the run was interrupted before.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        scheme: LabelScheme,
        imgsz: int,
        transforms: Sequence[v2.Transform],
        seed: int,
    ) -> None:
        """transforms: those to crops of one size each; every step draws one of them for all of its items."""
        self.samples, self.scheme, self.transforms, self.seed = list(samples), scheme, transforms, seed
        self.side = round(imgsz * CACHE_MARGIN)
        self._pairs: Sequence[Pair] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def fill_cache(
        self,
        kind: Cache,
        folder: Path,
        progress: Progress | None = None,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Decode everything once, into memory (`ram`) or into a file below `folder` (`disk`).

        A file on disk is used again by later runs on the same pictures at the same size; if it is damaged, it
        is made again, and `note` hears of it. Raises OutputError when the disk is full.
        """
        if kind == "ram":
            self._pairs = list(self._read_all(progress))
        elif kind == "disk":
            self._pairs = _DiskPairs.make(folder / self._fingerprint(), self, progress, note)

    def _read_all(self, progress: Progress | None) -> Iterator[Pair]:
        with ThreadPoolExecutor(max_workers=min(8, available_cores())) as pool:
            window = 64  # in flight; the whole set must not wait in memory when it goes to disk
            for start in range(0, len(self), window):
                for i, pair in enumerate(pool.map(self._read, range(start, min(start + window, len(self))))):
                    yield pair
                    if progress:
                        progress(start + i + 1, len(self))

    def _read(self, index: int) -> Pair:
        return read_small_pair(self.samples[index], self.scheme, self.side)

    def _fingerprint(self) -> str:
        """Name of the cache for these pictures (path, size, time of change), this size and these classes."""
        meaning = [self.side, self.scheme.to_dict(), own_car_class(self.scheme)]
        digest = hashlib.sha256(json.dumps(meaning, sort_keys=True).encode())
        for sample in self.samples:
            for path in (sample.image, sample.label):
                stat = path.stat()
                digest.update(f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
        return digest.hexdigest()[:20]

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor]:
        epoch, step, index = key
        transform = self.transforms[_mix(self.seed, epoch, "step", step) % len(self.transforms)]
        rgb_HWC, label_HW = self._pairs[index] if self._pairs is not None else self._read(index)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_mix(self.seed, epoch, index))
            image, label = transform(
                # A copy: the cache's arrays may be read-only, which torch warns about.
                tv_tensors.Image(torch.from_numpy(rgb_HWC.copy()).permute(2, 0, 1)),
                tv_tensors.Mask(torch.from_numpy(label_HW.copy())),
            )
        return image.as_subclass(Tensor).contiguous(), label.as_subclass(Tensor).contiguous()


def _mix(*parts: int | str) -> int:
    """One well-spread 63-bit seed out of several parts."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class EpochSampler(Sampler[Key]):
    """Every index once an epoch, as (epoch, step, index), in an order that seed and epoch alone decide.

    Several ranks share that order: of each `ranks * batch` indices in a row every rank has `batch`, so that
    together their batches are the batch of one process. What is left over of `batches` such rows is left out.
    A step has `step` indices of each rank.
    """

    def __init__(
        self,
        length: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        batch: int = 1,
        batches: int = 1,
        step: int = 1,
    ) -> None:
        self.length, self.seed, self.step, self.epoch = length, seed, step, 0
        self.rank, self.ranks, self.batch = rank, ranks, batch
        self.used = length - length % (ranks * batch * batches)

    def __len__(self) -> int:
        return self.used // self.ranks

    def __iter__(self) -> Iterator[Key]:
        generator = torch.Generator().manual_seed(_mix(self.seed, self.epoch))
        order = torch.randperm(self.length, generator=generator)[: self.used]
        own = order.view(-1, self.ranks, self.batch)[:, self.rank].flatten().tolist()
        for place, index in enumerate(own):
            yield self.epoch, place // self.step, index


class _DiskPairs(Sequence[Pair]):
    """Pairs in one memory-mapped file; `index.json` beside it, written last, says where each one lies.

    An entry is (offset, height, width, CRC-32 of picture and label).
    """

    def __init__(self, folder: Path) -> None:
        """Raises OSError, ValueError or TypeError when a file is missing or damaged: every byte is read."""
        entries = json.loads((folder / "index.json").read_text())
        self.entries: list[tuple[int, int, int, int]] = [
            (int(at), int(h), int(w), int(sum)) for at, h, w, sum in entries
        ]
        self.data = np.memmap(folder / "pixels.bin", np.uint8, "r")
        offset, height, width, _ = max(self.entries)
        if self.data.size != offset + 4 * height * width:
            raise ValueError(f"{folder}: pixels.bin is not as long as index.json says")
        with ThreadPoolExecutor(max_workers=min(8, available_cores())) as pool:
            if not all(pool.map(self._is_whole, self.entries)):
                raise ValueError(f"{folder}: pixels.bin is not what index.json says")

    def _is_whole(self, entry: tuple[int, int, int, int]) -> bool:
        offset, height, width, checksum = entry
        return zlib.crc32(self.data[offset : offset + 4 * height * width].data) == checksum

    @classmethod
    def make(
        cls,
        folder: Path,
        dataset: SegmentationDataset,
        progress: Progress | None,
        note: Callable[[str], None],
    ) -> "_DiskPairs":
        if folder.exists():
            try:
                return cls(folder)
            except (OSError, ValueError, TypeError):
                note(f"{folder}: the picture cache is damaged or unfinished; it is made again.")
        offset, entries = 0, []
        try:
            with replacing(folder / "pixels.bin") as file:
                for rgb_HWC, label_HW in dataset._read_all(progress):
                    checksum = zlib.crc32(label_HW.tobytes(), zlib.crc32(rgb_HWC.tobytes()))
                    file.write(rgb_HWC.tobytes())
                    file.write(label_HW.tobytes())
                    entries.append((offset, *label_HW.shape, checksum))
                    offset += rgb_HWC.nbytes + label_HW.nbytes
            write_text(folder / "index.json", json.dumps(entries))
        except BaseException as error:  # also Ctrl-C: half a cache is of no use to anyone
            with contextlib.suppress(OSError):
                folder.rmdir()  # unless an earlier cache is in it
            if not isinstance(error, OSError):
                raise
            raise OutputError(
                f"{folder}: cannot write the picture cache ({error.strerror}). Free some space, or use "
                "--cache ram or none."
            ) from error
        return cls(folder)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Pair:  # type: ignore[override]
        offset, height, width, _ = self.entries[index]
        pixels = height * width
        rgb = self.data[offset : offset + 3 * pixels].reshape(height, width, 3)
        return rgb, self.data[offset + 3 * pixels : offset + 4 * pixels].reshape(height, width)

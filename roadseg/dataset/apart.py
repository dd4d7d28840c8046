"""Pairs are read in processes apart: a file that kills its decoder is found by the loss of one, and named."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Final

from roadseg.cores import available_cores
from roadseg.dataset.inspect import Finding, inspect_pair
from roadseg.dataset.samples import Sample
from roadseg.errors import MediaError
from roadseg.labels import LabelScheme
from roadseg.media.crashes import try_apart

Pair = tuple[Sample, LabelScheme | None]

_CHUNK: Final = 16  # pairs that a process is handed at once: of all of them one may be the deadly one
_WAITING: Final = 2  # chunks for each process: one in work and one that waits


def inspect_apart(pairs: Sequence[Pair]) -> Iterator[list[Finding]]:
    """What is wrong with each pair, image and label decoded; as they get done."""
    chunks = [pairs[i : i + _CHUNK] for i in range(0, len(pairs), _CHUNK)][::-1]
    count = min(available_cores(), 8, len(chunks))
    while chunks:
        with _processes(count) as pool:
            handed: dict[Future[list[list[Finding]]], Sequence[Pair]] = {}
            suspects: list[Pair] = []
            while (chunks or handed) and not suspects:
                while chunks and len(handed) < _WAITING * count:
                    chunk = chunks.pop()
                    handed[pool.submit(_inspect, chunk)] = chunk
                for future in wait(handed, return_when=FIRST_COMPLETED).done:
                    try:
                        yield from future.result()
                    except BrokenProcessPool:
                        suspects += handed[future]
                    del handed[future]
            suspects += [pair for chunk in handed.values() for pair in chunk]
        for pair in suspects:
            yield _inspect_suspect(pair)


def _inspect(pairs: Sequence[Pair]) -> list[list[Finding]]:
    return [list(inspect_pair(sample, scheme, deep=True, decode=True)) for sample, scheme in pairs]


def _inspect_suspect(pair: Pair) -> list[Finding]:
    sample, _ = pair
    with _processes(1) as pool:
        try:
            return pool.submit(_inspect, [pair]).result()[0]
        except BrokenProcessPool:
            pass
    try:
        try_apart(sample.image)
    except MediaError as error:
        return [Finding("undecodable-image", sample.image, str(error).removeprefix(f"{sample.image}: "))]
    return [Finding("undecodable-label", sample.label, "kills its decoder; fetch or make it again")]


def _processes(count: int) -> ProcessPoolExecutor:
    # a fork of a process with threads may hang: https://docs.python.org/3/library/multiprocessing.html
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))

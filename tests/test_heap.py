"""Memory that a training frees stays with it: its pages are not cleared anew in each step."""

import os
import platform
import subprocess
import sys

import pytest

PAGES = 1 << 14  # of 4096 bytes, in 64 MiB: more than glibc keeps by itself

# Prints whether freed memory is kept, and how many pages the system cleared for the last of six steps.
STEPS = """
import resource, torch
from roadseg.engine.heap import keep_freed_memory
kept = {keep} and keep_freed_memory()
def step():
    layers = [torch.ones({pages} * 1024)]
    for _ in range(4):
        layers.append(layers[-1] + 1)
    while layers:
        layers.pop()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
cleared = [step() for _ in range(6)]
print(kept, cleared[-1] - cleared[-2])
"""


def cleared(keep: bool, **variables: str) -> tuple[bool, int]:
    """Whether a fresh process keeps what it frees, and how many pages were cleared for a later step."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", STEPS.format(keep=keep, pages=PAGES)],
        env={**usual, **variables},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    kept, pages = done.stdout.split()
    return kept == "True", int(pages)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept() -> None:
    """Without it, the pages of all five layers are mapped again; with it hardly any."""
    assert cleared(False)[1] > 4 * PAGES
    kept, pages = cleared(True)
    assert kept
    assert pages < 0.1 * PAGES


def test_the_users_thresholds_stay() -> None:
    """Who has set malloc's variables knows what memory there is."""
    assert not cleared(True, MALLOC_TRIM_THRESHOLD_="131072")[0]

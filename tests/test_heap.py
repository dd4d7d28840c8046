"""Memory that a training frees stays with it: its pages are not cleared anew in each step."""

import os
import platform
import subprocess
import sys

import pytest

from roadseg.engine import heap

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")

# Prints whether freed memory is kept, and how many pages the system cleared for the last of six steps. A
# layer has 64 MiB, more than glibc keeps by itself.
STEPS = """
import resource, torch
from roadseg.engine.heap import keep_freed_memory
{before}
kept = {keep} and keep_freed_memory()
def step():
    layers = [torch.ones(1 << 24)]
    for _ in range(4):
        layers.append(layers[-1] + 1)
    while layers:
        layers.pop()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
cleared = [step() for _ in range(6)]
print(kept, cleared[-1] - cleared[-2])
"""


def cleared(keep: bool, before: str = "", **variables: str) -> tuple[bool, int]:
    """Whether a fresh process keeps what it frees, and how many pages were cleared for a later step."""
    usual = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MALLOC_") and name not in ("GLIBC_TUNABLES", "LD_PRELOAD")
    }
    done = subprocess.run(
        [sys.executable, "-c", STEPS.format(keep=keep, before=before)],
        env={**usual, **variables},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    kept, pages = done.stdout.split()
    return kept == "True", int(pages)


def test_freed_memory_is_kept() -> None:
    """Without it, the pages of all five layers are mapped again; with it hardly any."""
    _, usual = cleared(False)
    if usual < 100:  # of 2 MiB, 160
        pytest.skip("this system clears no pages anyway")
    if heap._limited():
        pytest.skip("memory has a limit here")
    kept, pages = cleared(True)
    assert kept
    assert pages < 0.1 * usual


@pytest.mark.parametrize(
    "variables",
    [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}],
)
def test_the_users_settings_stay(variables: dict[str, str]) -> None:
    """Who has set malloc's variables knows what memory there is."""
    assert not cleared(True, **variables)[0]


def test_under_a_limit_nothing_is_kept() -> None:
    """What is kept would be missing where a batch that did not fit is halved."""
    limit = """if resource.getrlimit(resource.RLIMIT_AS)[1] == resource.RLIM_INFINITY:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 40, resource.RLIM_INFINITY))"""
    assert not cleared(True, before=limit)[0]

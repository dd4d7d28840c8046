"""The rooms of the house: who may import whom, what the quick commands may load, and what lies at the top."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "roadseg"
# A file imports lower ranks, or its own room, only.
RANKS = {
    "errors": 0, "encodings": 0, "labels": 0, "config": 0, "documents": 0, "cores": 0, "plain": 0,
    "media": 1,
    "metrics": 2,
    "dataset": 3, "model": 3, "report": 3,
    "engine": 4,
    "cli": 5,
    "__main__": 6,
}  # fmt: skip


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    own = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "roadseg" and len(parts) > 1 and parts[1] in RANKS:
            other = parts[1]
            assert other == own or RANKS[other] < RANKS[own] or (RANKS[own] == 0 and RANKS[other] == 0), name
        if parts[0] in ("typer", "rich"):
            assert own == "cli", f"only cli/ may import {name}"
        assert parts[0] != "click", "Typer vendors Click; a clean install has none"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_command_line_prints(path: Path) -> None:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert room(path) == "cli" or not [c for c in calls if isinstance(c, ast.Name) and c.id == "print"]


@pytest.mark.parametrize(
    "code",
    [
        "import roadseg, roadseg.errors, roadseg.config",
        "from roadseg.cli.app import app; app(['--help'], standalone_mode=False)",
        "from roadseg.cli.app import app; app(['--version'], standalone_mode=False)",
    ],
)
def test_quick_commands_load_nothing_heavy(code: str) -> None:
    check = (
        "import sys; print('LOADED', {'torch', 'cv2', 'matplotlib', 'numpy', 'jinja2'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{check}"], capture_output=True, text=True, check=True, timeout=60
    )
    assert "LOADED set()" in done.stdout


def test_labels_and_media_do_not_load_torch() -> None:
    names = ("labels", "media.images", "media.overlay", "dataset.check", "report.run")
    code = "import sys\n" + "".join(f"import roadseg.{name}\n" for name in names)
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_running_a_network_does_not_load_torchvision() -> None:
    """Two seconds and 160 MiB at every start, for nothing: training alone needs it."""
    code = "import sys, roadseg.engine.segment, roadseg.engine.video\nassert 'torchvision' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_top_level_is_as_agreed() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    top = {name.split("/")[0] for name in tracked.stdout.splitlines()}
    agreed = {
        "README.md",
        "pyproject.toml",
        "roadseg",
        "tests",
        "samples",
        "Makefile",
        "LICENSE",
        "CHANGELOG.md",
    }
    assert {name for name in top if not name.startswith(".")} == agreed


def test_the_licence_and_types_travel_with_the_package() -> None:
    assert (PACKAGE / "py.typed").exists()
    assert "MIT" in (ROOT / "LICENSE").read_text()

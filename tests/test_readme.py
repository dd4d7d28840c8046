"""Every command of the README works as it stands there, and every name in it exists."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import make_cityscapes
from typer.main import get_command
from typer.testing import CliRunner

from roadseg.cli.app import app
from roadseg.config import MODELS
from roadseg.dataset.layouts import LAYOUTS
from roadseg.labels import SCHEMES, get_scheme
from roadseg.model.unet import build_model

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
# A training as the README has it takes hours; these settings change how long, not what is done.
QUICK = ("--epochs", "1", "--imgsz", "64", "--batch-size", "3", "--workers", "0", "--device", "cpu")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with ~/cityscapes, and a working folder in it with ./frames."""
    make_cityscapes(tmp_path / "cityscapes")
    shutil.copytree(ROOT / "samples" / "frames", tmp_path / "work" / "frames")
    shutil.copy(ROOT / "samples" / "drive.mp4", tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_the_commands_work_in_their_order(home: Path) -> None:
    commands = [shlex.split(line)[1:] for line in SHELL if line.startswith("roadseg ")]
    names = {"train", "eval", "segment", "video", "report", "export"}
    assert {command[0] for command in commands} == names
    for command in commands:
        quick = QUICK if command[0] == "train" and "--data" in command else ()
        words = [word.replace("~", str(home.parent)) for word in command]
        result = CliRunner().invoke(app, [*words, *quick])
        assert result.exit_code == 0, f"{' '.join(command)}\n{result.output}"
    assert (home / "masks" / "masks" / "weather" / "rain.png").is_file()
    assert (home / "masks" / "overlays" / "weather" / "rain.jpg").is_file()
    assert (home / "masks" / "report.csv").is_file()
    assert (home / "drive.roadseg.mp4").is_file()
    assert {"best.pt", "last.pt", "results.csv", "curves.png", "samples"} <= {
        path.name for path in (home / "runs" / "train" / "road-small").iterdir()
    }
    assert (home / "runs" / "eval" / "cityscapes" / "scores.json").is_file()


def test_every_other_line_is_a_target_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)`", README)) | set(re.findall(r"^make ([a-z-]+)", README, re.M))
    assert {"demo", "test", "check", "bench"} <= named <= targets
    assert all(line.startswith(("roadseg ", "make ")) for line in SHELL)


def test_every_option_exists() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    params = [param for command in commands.values() for param in command.params]
    known = {name for param in params for name in (*param.opts, *param.secondary_opts)} | {"--help"}
    ours = re.sub(r"```shell\n.*?```", "", README, flags=re.DOTALL)  # there, schedulers have options, too
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", ours)) <= known
    for line in re.findall(r"`roadseg ([a-z-]+)", README):
        assert line in commands


def test_layouts_and_classes_are_all_told() -> None:
    for name in [layout.name for layout in LAYOUTS] + list(SCHEMES):
        assert f"`{name}`" in README


def test_the_example_of_classes_can_be_read(tmp_path: Path) -> None:
    (example,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    (tmp_path / "mine.json").write_text(example)
    assert get_scheme(str(tmp_path / "mine.json")).classes == ("other", "road")


@pytest.mark.parametrize("name", MODELS)
def test_the_models_have_the_parameters_that_it_says(name: str) -> None:
    millions = sum(p.numel() for p in build_model(MODELS[name], 2).parameters()) / 1e6
    assert re.search(rf"\| `{name}`[^|]*\|[^|]*\| {millions:.2f} M \|", README)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).is_file(), target

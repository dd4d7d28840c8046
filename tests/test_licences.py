"""The README has the licence of everything that roadseg needs, as the packages themselves state it."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
ROWS = {
    name: row
    for row in re.findall(
        r"^\| `.*", (ROOT / "README.md").read_text().partition("## Licences")[2], re.MULTILINE
    )
    for name in re.findall(r"`([\w-]+)`", row.split("|")[1])
}
FAMILIES = ("Apache", "BSD", "MIT", "Python Software Foundation")
# Of what our dependencies depend on: licences that ask for no more than to be named.
HARMLESS = re.compile(r"Apache|BSD|MIT|ISC|PSF|Python Software Foundation", re.IGNORECASE)


def declared() -> list[Requirement]:
    """What pyproject.toml asks for, without what only developers need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lists = [project["dependencies"], *(extras[name] for name in extras if name != "dev")]
    return [Requirement(text) for texts in lists for text in texts]


def stated(name: str) -> str:
    """What a package says of its licence; empty: nothing. Raises PackageNotFoundError."""
    about = metadata.metadata(name)
    classifiers = [c for c in about.get_all("Classifier") or [] if c.startswith("License")]
    license = (about["License"] or "").replace("UNKNOWN", "").strip()
    return "; ".join(filter(None, [about["License-Expression"], *classifiers, license[:60]]))


@pytest.mark.parametrize("name", sorted({requirement.name for requirement in declared()}))
def test_each_dependency_has_its_line(name: str) -> None:
    assert name in ROWS, f"the README's table of licences has no `{name}`"
    license = ROWS[name].split("|")[2]
    named = [family for family in FAMILIES if family in license]
    assert named
    try:
        said = stated(name)
    except metadata.PackageNotFoundError:
        return
    assert not said or all(family in said for family in named), f"{name} says {said}"


def test_what_they_bring_along_asks_for_nothing_more() -> None:
    seen: set[str] = set()
    todo = declared()
    while todo:
        requirement = todo.pop()
        try:
            distribution = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError:
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name in seen:
            continue
        seen.add(name)
        wanted = map(Requirement, distribution.requires or [])
        todo += [
            need
            for need in wanted
            if need.marker is None
            or any(need.marker.evaluate({"extra": e}) for e in {"", *requirement.extras})
        ]
        if requirement.name not in ROWS and not name.startswith(("nvidia-", "cuda-")):
            assert HARMLESS.search(stated(requirement.name)), f"{name}: {stated(requirement.name)}"
    assert {"torch", "numpy", "typing-extensions"} <= seen


def test_gpl_in_a_wheel_is_told_of() -> None:
    for name in ("av", "opencv-python", "opencv-python-headless"):
        gpl = [file.name for file in _files(name) if file.name.startswith(("libx264", "libx265"))]
        assert not gpl or "**GPL**" in ROWS[name], f"{name} carries {gpl}"


def _files(name: str) -> list[metadata.PackagePath]:
    try:
        return metadata.files(name) or []
    except metadata.PackageNotFoundError:
        return []

"""The bundled weights were made by the recipes of their names, and say so, but not on whose machine."""

import json
from pathlib import Path

import pytest
from conftest import tiny_checkpoint

from roadseg.engine.runs import read_recipe
from roadseg.model.checkpoint import bundled_weights, load_checkpoint, save_checkpoint, shareable


@pytest.mark.parametrize("name", bundled_weights())
def test_bundled_weights_were_made_by_their_recipe(name: str) -> None:
    made_by = load_checkpoint(bundled_weights()[name]).recipe
    recipe = read_recipe(name)
    start = recipe.pop("weights", None)  # a run of one's own, in place of the weights that came of it
    assert bool(start) == bool(made_by["weights"])
    assert {key: made_by[key] for key in recipe} == recipe


@pytest.mark.parametrize("name", bundled_weights())
def test_bundled_weights_name_no_folder(name: str) -> None:
    description = json.dumps(load_checkpoint(bundled_weights()[name]).description())
    assert "/" not in description


def test_what_is_given_away_names_no_folder_of_its_maker(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint()
    checkpoint.recipe = {"data": ["/home/me/a", "b"], "weights": "/home/me/w.pt", "teacher": None, "lr": 0.1}
    save_checkpoint(shareable(checkpoint), tmp_path / "w.safetensors")
    recipe = load_checkpoint(tmp_path / "w.safetensors").recipe
    assert recipe == {"data": ["a", "b"], "weights": "w.pt", "teacher": None, "lr": 0.1}
    assert checkpoint.recipe["weights"] == "/home/me/w.pt", "the checkpoint itself is left alone"

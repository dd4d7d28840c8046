"""The sample pictures are what their script draws, and their labels are official and plausible."""

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

SAMPLES = Path(__file__).parents[1] / "samples"
PICTURES = sorted((SAMPLES / "cityscapes" / "leftImg8bit").rglob("*.png"))
FRAMES = sorted((SAMPLES / "frames").rglob("*.jpg"))
MASKS = sorted((SAMPLES / "drive_labels").glob("*.png"))
OFFICIAL_IDS = set(range(34))  # Cityscapes labels.py, without the licence plate's -1
ROAD, CAR, SKY, VEGETATION, WALL, TERRAIN = 7, 26, 23, 21, 12, 22


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def label_of(picture: Path) -> Path:
    city = picture.relative_to(SAMPLES / "cityscapes" / "leftImg8bit")
    name = city.name.replace("_leftImg8bit", "_gtFine_labelIds")
    return SAMPLES / "cityscapes" / "gtFine" / city.with_name(name)


def imported(name: str) -> Iterator[ModuleType]:
    """A script of samples/, imported as it is when it is run."""
    sys.path.insert(0, str(SAMPLES))
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(SAMPLES))


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    yield from imported("make_samples")


@pytest.fixture(scope="module")
def scenes() -> Iterator[ModuleType]:
    yield from imported("make_scenes")


def assert_same_picture(drawn: np.ndarray, committed: np.ndarray, tolerance: float) -> None:
    """Equal but for what other versions of the libraries round or compress in another way."""
    assert drawn.shape == committed.shape
    assert np.abs(drawn.astype(int) - committed.astype(int)).mean() < tolerance


def test_a_scene_drawn_again_is_the_committed_one(script: ModuleType) -> None:
    city, plans = next(iter(script.VAL.items()))
    picture, label = script.cityscapes_scene(plans[3])
    committed = (
        SAMPLES / "cityscapes" / "leftImg8bit" / "val" / city / f"{city}_000003_000019_leftImg8bit.png"
    )
    np.testing.assert_array_equal(label, pixels(label_of(committed)))
    assert_same_picture(picture, pixels(committed), tolerance=0.5)


def test_the_drives_masks_belong_to_its_frames(script: ModuleType) -> None:
    av = pytest.importorskip("av")
    with av.open(str(SAMPLES / "drive.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == script.DRIVE_SIZE
        assert stream.average_rate == script.DRIVE_FPS
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(frames) == script.DRIVE_FRAMES
    numbers = [int(mask.stem) for mask in MASKS]
    assert numbers == list(range(0, script.DRIVE_FRAMES, script.LABEL_EVERY))
    index, picture, label = next(script.drive(range(numbers[-1], numbers[-1] + 1)))
    np.testing.assert_array_equal(script.road_mask(label), pixels(MASKS[-1]))
    assert_same_picture(picture, frames[index], tolerance=6)


def test_the_video_can_be_played_while_it_loads() -> None:
    data = (SAMPLES / "drive.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert len(data) < 1_000_000


def test_the_folders_hold_what_the_readme_says() -> None:
    split = [picture.relative_to(SAMPLES / "cityscapes" / "leftImg8bit").parts[0] for picture in PICTURES]
    assert (split.count("train"), split.count("val"), len(FRAMES)) == (16, 8, 8)
    assert len({picture.parent.name for picture in PICTURES}) == 3
    assert {len(frame.relative_to(SAMPLES / "frames").parts) for frame in FRAMES} == {1, 2}
    assert len(list((SAMPLES / "cityscapes" / "gtFine").rglob("*.png"))) == len(PICTURES)
    made = [path for path in SAMPLES.rglob("*") if path.suffix in {".png", ".jpg", ".mp4"}]
    assert sum(path.stat().st_size for path in made) < 6_000_000


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name.removesuffix("_leftImg8bit.png"))
def test_each_scene_has_a_plausible_official_label(picture: Path) -> None:
    image, label = pixels(picture), pixels(label_of(picture))
    assert image.shape == (256, 512, 3)
    assert image.dtype == label.dtype == np.uint8
    assert label.shape == (256, 512)
    assert set(np.unique(label).tolist()) <= OFFICIAL_IDS
    road = label == ROAD
    assert 0.2 < road.mean() < 0.6
    assert road[:90].mean() < 0.02  # nothing of it hangs in the sky
    assert (label == SKY).any()
    assert (label == CAR).any()
    assert (label == VEGETATION).any()
    # Asphalt is grey, whatever the light, and not one flat colour.
    red, _, blue = image[road].mean(0)
    assert abs(red - blue) < 30
    assert image[road].std() > 4


@pytest.mark.parametrize("frame", FRAMES, ids=lambda path: path.stem)
def test_each_frame_is_a_picture_with_content(frame: Path) -> None:
    image = pixels(frame)
    assert image.shape in {(360, 640, 3), (540, 960, 3)}
    assert image.std() > 20


@pytest.mark.parametrize("mask", MASKS, ids=lambda path: path.stem)
def test_each_mask_of_the_drive_is_a_road_mask(mask: Path) -> None:
    road = pixels(mask)
    assert road.shape == (360, 640)
    assert set(np.unique(road).tolist()) == {0, 255}
    assert 0.2 < (road == 255).mean() < 0.6


RARE_KINDS: dict[str, Callable[[Any], bool]] = {
    "freeway": lambda plan: plan.walled is not None,
    "snow": lambda plan: plan.wear.snow is not None,
    "unpaved": lambda plan: plan.surface == "earth",
    "concrete": lambda plan: plan.surface == "concrete" and plan.walled is None,
    "village": lambda plan: plan.place == "village",
    "desert": lambda plan: plan.verge == "sand" and plan.surface == "asphalt",
    "tunnel": lambda plan: plan.place == "tunnel",
    "bridge": lambda plan: plan.span is not None and plan.place != "tunnel",
    "mount": lambda plan: plan.lens.mount is not None,
}


def rare_seed(scenes: ModuleType, is_wanted: Callable[[Any], bool]) -> int:
    return next(seed for seed in range(5000, 6000) if is_wanted(scenes.rare_plan_by_chance(seed)))


@pytest.mark.parametrize("kind", RARE_KINDS)
def test_a_rare_scene_is_the_same_every_time_and_labelled(scenes: ModuleType, kind: str) -> None:
    street, photograph = sys.modules["render.street"].Street, sys.modules["render.picture"].photograph
    seed = rare_seed(scenes, RARE_KINDS[kind])
    plans = [scenes.rare_plan_by_chance(seed) for _ in range(2)]
    (picture, label), (again, same) = (photograph(street(plan), 160, 90, plan.view) for plan in plans)
    np.testing.assert_array_equal(picture, again)
    np.testing.assert_array_equal(label, same)
    assert picture.shape == (*label.shape, 3)
    assert set(np.unique(label).tolist()) <= OFFICIAL_IDS
    assert 0.05 < np.mean(label == ROAD) < 0.8


@pytest.mark.parametrize("seed", [1000, 1003, 1004, 1017])
def test_a_scene_by_chance_is_the_same_every_time_and_labelled(
    scenes: ModuleType, tmp_path: Path, seed: int
) -> None:
    for root in (tmp_path / "a", tmp_path / "b"):
        scenes.write_scene(root, False, seed)
    one, other = (
        {p.relative_to(root): p.read_bytes() for p in root.rglob("*.png")}
        for root in (tmp_path / "a", tmp_path / "b")
    )
    assert one == other
    split = "val" if seed % 20 == 0 else "train"
    name = f"rendered_{seed:06d}_000019"
    label = pixels(tmp_path / "a" / "gtFine" / split / "rendered" / f"{name}_gtFine_labelIds.png")
    picture = pixels(tmp_path / "a" / "leftImg8bit" / split / "rendered" / f"{name}_leftImg8bit.png")
    assert picture.shape == (*label.shape, 3)
    assert set(np.unique(label).tolist()) <= OFFICIAL_IDS
    assert 0.05 < np.mean(label == ROAD) < 0.8


def test_a_scene_that_is_there_already_is_left_alone(scenes: ModuleType, tmp_path: Path) -> None:
    scenes.write_scene(tmp_path, False, 1001)
    (label,) = tmp_path.rglob("*labelIds.png")
    label.write_bytes(b"mine")
    scenes.write_scene(tmp_path, False, 1001)
    assert label.read_bytes() == b"mine"


def test_rare_scenes_beside_ordinary_ones_of_the_same_seeds_are_others(
    scenes: ModuleType, tmp_path: Path
) -> None:
    """Were their names the same, a run that goes on would pair a picture with the label of another."""
    for rare in (False, True):
        scenes.write_scene(tmp_path, rare, 1001)
    assert len({path.read_bytes() for path in tmp_path.rglob("*leftImg8bit.png")}) == 2


def test_chance_gives_every_place_and_weather(scenes: ModuleType) -> None:
    plans = [scenes.plan_by_chance(seed) for seed in range(1000, 1200)]
    assert {plan.place for plan in plans} == {"city", "suburb", "country", "motorway"}
    assert len({plan.weather for plan in plans}) == 9
    assert len({plan.view.focal for plan in plans}) == len(plans)


def test_rare_scenes_show_what_the_others_never_do(scenes: ModuleType) -> None:
    plans = [scenes.rare_plan_by_chance(seed) for seed in range(5000, 5200)]
    kinds = {name: sum(map(is_wanted, plans)) for name, is_wanted in RARE_KINDS.items()}
    assert min(kinds.values()) > 4, kinds
    ordinary = [scenes.plan_by_chance(seed) for seed in range(5000, 5200)]
    for plan in ordinary:
        assert plan.wear.snow is plan.span is plan.verge is plan.walled is None
        assert plan.surface in {"asphalt", "setts"}
        assert plan.place not in {"village", "tunnel"}
    lenses = [plan.lens for plan in plans]
    assert any(lens.barrel for lens in lenses)
    assert any(lens.drops for lens in lenses)
    assert any(lens.clock for lens in lenses)


def test_trodden_earth_beside_a_road_is_void_and_the_road_under_a_bridge_is_road(scenes: ModuleType) -> None:
    """What data sets do not agree on is not taught; what is dark under a bridge is."""
    street, photograph = sys.modules["render.street"].Street, sys.modules["render.picture"].photograph
    village, bridge = (
        scenes.rare_plan_by_chance(rare_seed(scenes, is_wanted))
        for is_wanted in (
            lambda plan: plan.place == "village" and plan.pavement > 2,
            lambda plan: plan.span is not None and plan.place == "country" and 6 < plan.span[0] < 15,
        )
    )
    _, label = photograph(street(village), 320, 180, village.view)
    assert 0.03 < np.mean(label[90:] == 0) < 0.5
    _, label = photograph(street(bridge), 320, 180, bridge.view)
    assert np.mean(label == WALL) > 0.1
    assert np.mean(label[120:160, 80:240] == ROAD) > 0.6


def test_a_lens_bends_the_label_with_the_picture(scenes: ModuleType) -> None:
    """A wide lens draws the corners' surroundings inwards: what was there stays there, the middle grows."""
    lens = sys.modules["render.lens"].Lens
    label = np.zeros((90, 160), np.uint8)
    label[45:, 40:120] = ROAD
    picture = np.repeat(label[..., None].astype(np.float32), 3, axis=2)
    bent, bent_label = lens(barrel=0.2).drawn_in(picture, label)
    np.testing.assert_array_equal(bent_label[bent[..., 0] < 0.01], 0)
    np.testing.assert_array_equal(bent_label[bent[..., 0] > ROAD - 0.01], ROAD)
    assert (bent_label == ROAD).sum() > 1.1 * (label == ROAD).sum()
    same, same_label = lens().drawn_in(picture, label)
    assert same is picture
    assert same_label is label


def test_no_trodden_earth_meets_a_bonnet_and_no_span_a_bend(scenes: ModuleType) -> None:
    """Both void regions would be one at the picture's foot; slabs are straight."""
    for plan in (scenes.rare_plan_by_chance(seed) for seed in range(1000, 2200)):
        if plan.place == "village" or plan.surface == "earth":
            assert not plan.bonnet
            assert plan.verge != "earth"
        if plan.span is not None:
            assert not plan.bends
            assert plan.climb is None


def test_a_snowed_motorway_is_driven_on_both_carriageways(scenes: ModuleType) -> None:
    """The one beyond the strip is no snow field, and where the bank closes the edge is void."""
    street, photograph = sys.modules["render.street"].Street, sys.modules["render.picture"].photograph
    seeds = (seed for seed in range(1000, 3000) if _is_snowed_motorway(scenes.rare_plan_by_chance(seed)))
    plan = scenes.rare_plan_by_chance(next(seeds))
    picture, label = photograph(street(plan), 320, 180, replace(plan.view, yaw=-25.0, height=4.0, roll=0.0))
    other = np.zeros(label.shape, bool)
    other[:, :100] = label[:, :100] == ROAD
    assert other.sum() > 125
    assert picture[label == TERRAIN].mean() > picture[other].mean() + 15
    assert (label == 0).any()


def _is_snowed_motorway(plan: Any) -> bool:
    snow = plan.wear.snow
    return plan.place == "motorway" and plan.weather == "overcast" and snow is not None and 0.3 < snow < 0.6


def test_a_freeways_shoulder_reaches_to_its_wall(scenes: ModuleType) -> None:
    """What lies left of the yellow line, in the wall's shade, is road like the lanes."""
    street, photograph = sys.modules["render.street"].Street, sys.modules["render.picture"].photograph
    seed = rare_seed(scenes, lambda plan: plan.walled is not None and plan.walled > 3 and plan.view.d < 2.2)
    plan = scenes.rare_plan_by_chance(seed)
    view = replace(plan.view, yaw=-20.0, pitch=-6.0, roll=0.0)
    _, label = photograph(street(replace(plan, bends=(), traffic=0)), 320, 180, view)
    rows = [row for row in label[90:150] if ROAD in row and WALL in row]
    assert len(rows) > 10
    for row in rows:
        wall = np.flatnonzero(row == WALL)
        assert set(row[wall.min() : 200].tolist()) <= {WALL, ROAD}, "a verge between wall and road"


def test_what_a_mount_covers_is_the_own_car(scenes: ModuleType) -> None:
    lens = sys.modules["render.lens"].Lens
    label = np.full((90, 160), ROAD, np.uint8)
    picture = np.full((90, 160, 3), 0.5, np.float32)
    for side, column in ((-1.0, 2), (1.0, 157)):
        covered, own = lens(mount=(side, 0.6, 0.2)).mounted(picture, label)
        assert own[55, column] == CAR
        assert own[55, 159 - column] == ROAD
        assert covered[55, column].mean() < 0.1
        np.testing.assert_array_equal(covered[:20], picture[:20])

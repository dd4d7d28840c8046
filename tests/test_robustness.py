"""The changes that weights are tried on (`robustness.py`) move picture and label together."""

import sys
from pathlib import Path

import numpy as np
import pytest
import robustness
from conftest import street


@pytest.mark.parametrize("name", robustness.CHANGES)
def test_the_road_stays_where_it_is_labelled(name: str) -> None:
    rgb_HWC, ids_HW = street(3, 120, 240)
    label_HW = np.where(ids_HW == 7, 1, 0).astype(np.uint8)
    before = rgb_HWC.copy(), label_HW.copy()
    seen_HWC, truth_HW = robustness.CHANGES[name](rgb_HWC, label_HW)
    assert (seen_HWC.dtype, truth_HW.dtype) == (np.uint8, np.uint8)
    assert seen_HWC.shape == (*truth_HW.shape, 3)
    assert set(np.unique(truth_HW)) <= {0, 1, 255}
    assert (truth_HW == 1).mean() > 0.1
    assert all(np.array_equal(*pair) for pair in zip(before, (rgb_HWC, label_HW), strict=True))
    changed = seen_HWC.shape != rgb_HWC.shape or not np.array_equal(seen_HWC, rgb_HWC)
    assert changed == (name != "as it is")
    if truth_HW.shape != label_HW.shape or not np.array_equal(truth_HW, label_HW):  # it moved
        grey = np.abs(seen_HWC.astype(int) - (105, 100, 105)).max(2) < 40
        assert grey[truth_HW == 1].mean() > 0.95


def test_the_table_has_a_column_for_each_data_set_and_weights(
    cityscapes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["robustness.py", str(cityscapes), "--weights", "road-small", "road-base", "--pictures", "1"]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(
        robustness, "CHANGES", {name: robustness.CHANGES[name] for name in ("as it is", "rain")}
    )
    robustness.main()
    printed = capsys.readouterr().out
    for part in ("road-small", "road-base", "as it is", "rain", "mean"):
        assert part in printed

"""The pictures for a run's page: how each kind of run gets one back that it has done before."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from roadseg.dataset.samples import Sample, read_pair
from roadseg.engine.evaluate import MaskPredictor
from roadseg.report.html.album import Album, Seen

PAGE: Final = "report.html"


def evaluation_album(page: Path, predictor: MaskPredictor, samples: Sequence[Sample]) -> Album:
    """An album whose large pictures are predicted anew: a dozen of them, a second or two."""
    by_key = {sample.key: sample for sample in samples}

    def reopen(key: str) -> Seen:
        rgb_HWC, label_HW = read_pair(by_key[key], predictor.scheme)
        return rgb_HWC, label_HW, predictor.predict([rgb_HWC])[0]

    album = Album(page, predictor.scheme)
    album.reopen = reopen
    return album

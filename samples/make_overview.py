"""Makes overlays.jpg, the README's picture: sample frames with the road that the bundled model finds.

python samples/make_overview.py
"""

from pathlib import Path

from PIL import Image

from roadseg.config import InferConfig, SegmentConfig
from roadseg.engine.predict import Predictor
from roadseg.media.images import read_rgb
from roadseg.media.overlay import draw
from roadseg.model.checkpoint import load_checkpoint

HERE = Path(__file__).parent
SHOWN = ("market-street.jpg", "motorway.jpg", "weather/night.jpg", "weather/rain.jpg")
TILE = (480, 270)
GAP = 6


def main() -> None:
    """Draw the tiles two by two, with white lines between them."""
    predictor = Predictor(load_checkpoint(), InferConfig())
    width, height = TILE
    sheet = Image.new("RGB", (2 * width + GAP, 2 * height + GAP), "white")
    for i, name in enumerate(SHOWN):
        rgb_HWC = read_rgb(HERE / "frames" / name)
        mask_HW = predictor.predict([rgb_HWC])[0]
        overlay = Image.fromarray(draw(rgb_HWC, mask_HW, predictor.scheme, SegmentConfig.opacity))
        corner = (i % 2 * (width + GAP), i // 2 * (height + GAP))
        sheet.paste(overlay.resize(TILE, Image.Resampling.LANCZOS), corner)
    sheet.save(HERE / "overlays.jpg", quality=88)


if __name__ == "__main__":
    main()

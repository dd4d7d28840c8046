"""How good a segmentation is: integer counts that add up over pictures, and the scores of their sum.

- `confusion`: the confusion matrix; IoU, Dice/F1, precision, recall, accuracies.
- `cityscapes`: what its official script adds: IoU of categories, and iIoU where instances are known.
- `boundary`: boundary IoU and boundary F: how well outlines fit.
- `curves`: precision-recall and IoU over the threshold, MaxF and AP as KITTI's, calibration error (ECE).
- `birdseye`: the road as seen from above, where the camera is known.
- `bootstrap`: confidence intervals over pictures.
- `temporal`: how consistent the masks of a video are.
"""

from roadseg.metrics.confusion import (
    ConfusionMatrix,
    PerImageScores,
    Scores,
    mean_defined,
    none_for_nan,
    per_image,
    scores,
)

__all__ = [
    "ConfusionMatrix",
    "PerImageScores",
    "Scores",
    "mean_defined",
    "none_for_nan",
    "per_image",
    "scores",
]

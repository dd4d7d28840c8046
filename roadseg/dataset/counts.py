"""How many pictures and pairs a data set has, beside how many were published."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from roadseg.dataset.samples import Scan


@dataclass(frozen=True)
class Count:
    """Images that are there, those of them with a label, and how many were published (None: not known)."""

    images: int
    pairs: int
    official: int | None

    def shortfall(self, secret: bool) -> int:
        """How many fewer there are than were published; images will do where labels are secret."""
        return max(0, (self.official or 0) - (self.images if secret else self.pairs))


@dataclass(frozen=True)
class SplitCount(Count):
    """The count of a split, and of each city or sequence in it."""

    split: str
    groups: dict[str, Count]


def count_pairs(found: Scan) -> list[SplitCount]:
    """The count of every split that is there or was published, the published ones first."""
    official = found.form.official
    pairs = Counter((sample.split, sample.group) for sample in found.samples)
    images = pairs + Counter((image.split, image.group) for image in found.unlabelled)
    splits = []
    for split in dict.fromkeys((*official, *sorted({split for split, _ in images}))):
        published = official.get(split)
        by_group = published if isinstance(published, Mapping) else {}
        names = sorted({group for where, group in images if where == split} | by_group.keys())
        groups = {
            # of a split whose groups were published, every other group has officially none
            name: Count(images[split, name], pairs[split, name], by_group.get(name, 0) if by_group else None)
            for name in names
        }
        splits.append(
            SplitCount(
                sum(count.images for count in groups.values()),
                sum(count.pairs for count in groups.values()),
                sum(published.values()) if isinstance(published, Mapping) else published,
                split,
                groups,
            )
        )
    return splits

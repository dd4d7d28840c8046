"""Whose files those are: a video run replaces nothing but what an earlier run wrote, and is alone with it."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from roadseg.config import VideoConfig
from roadseg.errors import OutputError
from roadseg.media.output import alone_at, atomic_write, cannot_write
from roadseg.media.video_writer import partials_of
from roadseg.report.html.page import require_ours
from roadseg.report.video import Earlier, VideoReport, earlier_run

_MASK: Final = re.compile(r"\d{6,}\.png")
_NEW_MASKS: Final = ".roadseg.partial"  # a folder in that of the masks


class Claim:
    """A run's right to its outputs; made by `claimed`."""

    def __init__(self, config: VideoConfig, source: str) -> None:
        """Raises OutputError where outputs are the input, or are there and not to be replaced."""
        self._masks = Path(config.masks) if config.masks else None
        self.new_masks = self._masks / _NEW_MASKS if self._masks else None
        """Where the masks are to be written; `publish_masks` brings them to their place."""
        for name in (config.out, config.mask_video):
            if name is not None and not Path(name).name:
                raise OutputError(
                    f"{name or 'an empty name'}: is no name for a video; give one such as drive.mp4"
                )
        self._report = Path(config.out).with_suffix(".json")
        self._before: bytes | None = None
        self._begun = False
        killed = _refuse_to_replace(config, source, earlier_run(self._report))
        self._fresh = killed or not Path(config.out).exists()

    def begin(self, report: VideoReport, outputs: dict[str, str]) -> None:
        """Say beside the outputs, before there is any, that they are ours: for a rerun after `kill -9`."""
        if self._report.exists():
            self._before = self._report.read_bytes()
        self._begun = True
        report.announce(self._report, outputs, self._fresh)
        self._remove_new_masks()  # of a run that was killed

    def publish_masks(self) -> None:
        """Put the new masks in the place of an earlier run's, which may be more. Raises OutputError."""
        if self._masks is None or self.new_masks is None:
            return
        try:
            for path in self._masks.iterdir():
                if _MASK.fullmatch(path.name):
                    path.unlink()
            for path in self.new_masks.iterdir():
                path.replace(self._masks / path.name)
            self.new_masks.rmdir()
        except OSError as error:
            raise cannot_write(self._masks, error) from error

    def undo(self) -> None:
        """After an error: no masks of half a video, and the report that was there before, if one was."""
        if not self._begun:
            return
        self._remove_new_masks()
        with contextlib.suppress(OSError, OutputError):
            if self._before is None:
                self._report.unlink()
            else:
                atomic_write(self._report, self._before)

    def _remove_new_masks(self) -> None:
        if self.new_masks:
            shutil.rmtree(self.new_masks, ignore_errors=True)


@contextlib.contextmanager
def claimed(config: VideoConfig, source: str) -> Iterator[Claim]:
    """Claim the outputs of `config`, and keep other runs off them meanwhile. Raises OutputError."""
    claim = Claim(config, source)
    # without its suffix: the table of q.mp4 and of q.mkv is one
    places = [Path(config.out).with_suffix(""), *map(Path, filter(None, (config.mask_video, config.masks)))]
    with contextlib.ExitStack() as locks:
        for place in dict.fromkeys(map(Path.resolve, places)):  # drive.mp4 with its masks in drive: one lock
            locks.enter_context(alone_at(place))
        yield claim


def _refuse_to_replace(config: VideoConfig, source: str, earlier: Earlier | None) -> bool:
    """Return whether what is there comes from a run that was killed, and may simply go."""
    out = Path(config.out)
    videos = [Path(name) for name in (config.out, config.mask_video) if name]
    partials = [partial for video in videos for partial in partials_of(video)]
    if len({path.resolve() for path in (*videos, *partials)}) < len(videos) + len(partials):
        raise OutputError(
            f"{out}: is --mask-video, too, or one has the name that the other is to have while it is "
            "unfinished; give them two names"
        )
    try:
        _refuse_the_input([*videos, *partials], config.masks, Path(source))
        suffixes = (".csv", ".json", ".png", ".html") if config.html else (".csv", ".json", ".png")
        table = [out.with_suffix(suffix) for suffix in suffixes]
        there = [path for path in (*videos, *table) if path.exists()]
        masks = Path(config.masks) if config.masks else None
        there += [masks] if masks and masks.is_dir() and any(masks.iterdir()) else []
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise cannot_write(out, error) from error
    # a run that was killed has left no video, and nothing that is worth keeping
    unfinished = earlier is not None and not earlier.finished
    killed = unfinished and bool((earlier and earlier.fresh) or not out.exists())
    for partial in partials:
        if partial.exists() and not (unfinished and earlier and _names(earlier, partial)):
            raise OutputError(
                f"{partial}: is there already, where the unfinished video would be, and no report of "
                "roadseg's says that it is ours; move it away, or choose another --out"
            )
    if there and not config.overwrite and not killed:
        raise OutputError(f"{there[0]}: is there already; give --overwrite, or choose another --out")
    if config.html:
        require_ours(out.with_suffix(".html"))
    ours = {path.resolve() for path in (*earlier.outputs, *table)} if earlier else set()
    for path in there:
        if path.resolve() not in ours:
            raise OutputError(
                f"{path}: is there already, and no report of roadseg's beside {out} says that it is ours: it "
                "may be somebody's own; move it away, or choose another name"
            )
    return killed


def _names(earlier: Earlier, partial: Path) -> bool:
    """Whether `partial` is the unfinished file of an output that `earlier` names."""
    return any(partial.resolve() in map(Path.resolve, partials_of(path)) for path in earlier.outputs)


def _refuse_the_input(videos: list[Path], masks: str | None, source: Path) -> None:
    if not source.exists():  # a camera, a stream
        return
    for path in videos:
        if path.exists() and path.samefile(source):
            raise OutputError(f"{path}: is the input; choose another --out")
    if masks and Path(masks).exists() and Path(masks).samefile(source):
        raise OutputError(f"{masks}: is the input; choose another folder for --masks")
    for path in (*videos, *([Path(masks)] if masks else [])):
        if source.is_dir() and path.resolve().is_relative_to(source.resolve()):
            raise OutputError(f"{path}: would lie among the pictures of {source}; choose another place")

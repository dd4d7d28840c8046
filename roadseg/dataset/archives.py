"""Archives that lie in a data set's folder: are they whole, and is what they hold unpacked beside them?"""

import bz2
import gzip
import io
import lzma
import shlex
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

ArchiveState = Literal["unpacked", "packed", "damaged", "unfinished", "unknown"]

_PROBES: Final = 100  # members whose files are looked for
# Of a tar no more is unpacked, whatever the sizes in it claim: a small file may hold any number of zeros.
_HEAD: Final = 1 << 26
_UNPACKERS: Final[Mapping[str, Callable[..., Any]]] = {
    ".gz": gzip.open,
    ".tgz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
_ZIP: Final = (".zip",)
_TAR: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_OTHER: Final = (".7z", ".rar")
_UNFINISHED: Final = (".part", ".crdownload", ".download", ".aria2")  # of browsers and download tools


@dataclass(frozen=True)
class Archive:
    """An archive, its size in bytes, and what has become of what it holds."""

    path: Path
    size: int
    state: ArchiveState

    def unpack_command(self, root: Path) -> str:
        """The shell command that unpacks it into `root` and overwrites nothing."""
        zipped = self.path.name.lower().endswith(_ZIP)
        command = ["unzip", "-n", str(self.path), "-d"] if zipped else ["tar", "-xkf", str(self.path), "-C"]
        return shlex.join([*command, str(root)])


def find_archives(root: Path) -> list[Archive]:
    """The archives directly in `root`, looked into but never unpacked; none if it cannot be listed."""
    try:
        paths = sorted(path for path in root.iterdir() if path.is_file())
    except OSError:
        return []
    wanted = _ZIP + _TAR + _OTHER + _UNFINISHED
    return [
        Archive(path, path.stat().st_size, _state(path, root))
        for path in paths
        if path.name.lower().endswith(wanted)
    ]


def _state(path: Path, root: Path) -> ArchiveState:
    name = path.name.lower()
    if name.endswith(_UNFINISHED):
        return "unfinished"
    if name.endswith(_OTHER):
        return "unknown"
    try:
        members = _zip_members(path) if name.endswith(_ZIP) else _tar_members(path)
    except Exception:  # they raise about anything on damaged files: UnicodeDecodeError, LZMAError, ...
        return "damaged"
    return "unpacked" if all(_is_there(root, Path(member)) for member in members) else "packed"


def _is_there(root: Path, member: Path) -> bool:
    """Whether a member has been unpacked; what would lie outside of `root` has not."""
    if member.is_absolute() or ".." in member.parts:
        return False
    try:
        return (root / member).is_file()
    except (OSError, ValueError):  # a name that no disk takes
        return False


def _zip_members(path: Path) -> Sequence[str]:
    """Some members, spread over all; a zip has its list at the end, so half a download raises BadZipFile."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    return names[:: max(1, len(names) // _PROBES)]


def _tar_members(path: Path) -> Sequence[str]:
    """The first members: to see the last one would mean to unpack it all."""
    with _UNPACKERS.get(path.suffix.lower(), open)(path, "rb") as file:
        head = file.read(_HEAD)
    with tarfile.open(fileobj=io.BytesIO(head), mode="r:") as archive:
        members = []
        for member in islice(archive, _PROBES):
            members += [member.name] if member.isfile() else []
            if member.offset_data + member.size >= _HEAD:  # the next one lies behind what was read
                break
        return members

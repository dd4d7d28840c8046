"""Finding files by template: "gtFine/{split}/{group}/{stem}_gtFine_labelIds.png".

`{split}` is the folder of a split; `{group}` a city or a sequence, and `{stem}` one picture of it; `{path}`
is any path without suffix, whose group is its folder, or the text before the first digit of its name where
it has no folder; `{ext}` is a suffix of pictures, `{mask}` of lossless ones and `{lossy}` of the others.
"""

import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from roadseg.errors import DatasetError

_FIELDS: Final = {
    "{group}": r"(?P<group>[^/]+?)",
    "{stem}": r"(?P<stem>[^/]+)",
    "{path}": r"(?P<path>.+)",
    "{ext}": r"(?i:png|jpe?g|bmp|tiff?|webp)",
    "{mask}": r"(?i:png|bmp|tiff?)",
    "{lossy}": r"(?i:jpe?g|webp)",
}


@dataclass(frozen=True, slots=True)
class Match:
    """A file that fits a template. An image and its label have the same `split` and `key`."""

    path: Path
    split: str
    group: str
    key: str


def find_files(root: Path, template: str, splits: Mapping[str, str]) -> Iterator[Match]:
    """Every file below `root` that fits, in no particular order.

    `splits` maps folder names that stand for `{split}` to the names of splits; without that field, all is
    train.
    """
    for folder_name, split in (splits if "{split}" in template else {"": "train"}).items():
        parent, name_template = cut(template.replace("{split}", folder_name))
        parts = re.split(r"(\{\w+\})", name_template)
        pattern = re.compile("".join(_FIELDS.get(part) or re.escape(part) for part in parts), re.DOTALL)
        for name in list_files(root / parent):
            found = pattern.fullmatch(name)
            if found:
                group, key = _identify(found.groupdict())
                yield Match(root / parent / name, split, group, key)


def cut(template: str) -> tuple[str, str]:
    """The folder that a template names, and the rest, from the path part with its first field on."""
    start = template.index("{")
    parent = template[:start].rpartition("/")[0]
    return parent, template[len(parent) :].removeprefix("/")


def _identify(fields: Mapping[str, str]) -> tuple[str, str]:
    """Group and key of a file, in composed Unicode: some file systems hand out decomposed names."""
    fields = {name: unicodedata.normalize("NFC", value) for name, value in fields.items()}
    if "path" not in fields:
        return fields["group"], f"{fields['group']}/{fields['stem']}"
    folder, _, stem = fields["path"].rpartition("/")
    return folder or re.split(r"\d", stem)[0].rstrip("_-. "), fields["path"]


def list_files(folder: Path) -> Iterator[str]:
    """The names of all files below `folder`, relative to it, with "/"; hidden ones are left out.

    Links are followed, except into a folder that they lie in. A folder that is not there has no files;
    DatasetError for one that may not be read.
    """
    pending: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while pending:
        prefix, above = pending.pop()
        try:
            status = os.stat(folder / prefix)
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                continue
            with os.scandir(folder / prefix) as entries:
                for entry in entries:
                    if entry.name.startswith("."):  # also the ._files that macOS leaves in archives
                        continue
                    if _answers(entry.is_dir):
                        pending.append((f"{prefix}{entry.name}/", above | {identity}))
                    elif _answers(entry.is_file):
                        yield prefix + entry.name
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise DatasetError(
                f"{folder / prefix}: this folder cannot be listed ({error.strerror}); check its rights"
            ) from error


def _answers(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # a link to itself is neither folder nor file
        return False

"""Which data set lies in a folder: found by looking at the names in it, and near it."""

import os
from pathlib import Path

from roadseg.dataset.layouts import LAYOUTS, Form, Layout
from roadseg.dataset.templates import find_files
from roadseg.errors import DatasetError


def require_folder(root: Path) -> None:
    """DatasetError if `root` is no folder."""
    if not os.path.isdir(root):  # which takes a name that is too long, too
        what = "this is a file" if os.path.exists(root) else "no such folder"
        raise DatasetError(f"{root}: {what}; give the folder that holds the data set")


def detect_layout(root: Path) -> Layout:
    """The layout of the data set in `root`, by its folders and file names alone.

    Where only images or only labels are there, that is enough. DatasetError if nothing fits: it says what was
    looked for, or which folder nearby holds a data set.
    """
    require_folder(root)
    layout, _ = _best_layout(root)
    if layout is None:
        looked_for = "; ".join(f"{lay.name}: {form.image}" for lay in LAYOUTS for form in lay.forms[:1])
        raise DatasetError(
            f"{root}: no known data set here; {_hint_nearby(root) or f'looked for images as in {looked_for}'}"
        )
    return layout


def _best_layout(root: Path) -> tuple[Layout | None, bool]:
    """The first layout with images and labels (and True), else the first with one of the two."""
    partial = None
    for layout in LAYOUTS:
        for form in layout.forms:
            has_image = any(find_files(root, form.image, form.splits))
            has_label = any(any(find_files(root, label, form.splits)) for label, _ in form.labels)
            if has_image and has_label:
                return layout, True
            # {split}/x_y.png alone would take any folder called train for CamVid
            if has_label or (has_image and not form.image.startswith("{split}/{")):
                partial = partial or layout
    return partial, False


def _hint_nearby(root: Path) -> str | None:
    """What to do if a folder above `root` (when leftImg8bit was given) or inside it is a data set."""
    for above in list(root.resolve().parents)[:3]:
        layout, complete = _peek(above)
        inner = root.resolve().relative_to(above).parts[0]
        if layout and complete and any(_mentions(form, inner) for form in layout.forms):
            return f"give the folder {above} instead, which holds {layout.title}"
    parts = []
    for inside in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        layout, complete = _peek(inside)
        if layout and complete:
            return f"give the folder {inside} instead, which holds {layout.title}"
        parts += [inside] if layout else []
    if len(parts) > 1:
        return f"move what is in {' and '.join(str(part) for part in parts)} into one folder, and give that"
    return f"{parts[0]} holds a part of one; give that folder to see what is missing" if parts else None


def _peek(folder: Path) -> tuple[Layout | None, bool]:
    """`_best_layout` of a folder that the user did not name, so that it may well be closed to us."""
    try:
        return _best_layout(folder)
    except DatasetError:
        return None, False


def _mentions(form: Form, folder_name: str) -> bool:
    """Whether the form has such a folder at its top."""
    templates = (form.image, *(label for label, _ in form.labels))
    tops = {template.partition("/")[0] for template in templates}
    return folder_name in {top.replace("{split}", split) for top in tops for split in form.splits}

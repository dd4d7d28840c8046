"""What ran, as people read it."""

from collections.abc import Mapping
from typing import Any, Final

_NAMES: Final = {
    "command_line": "Command", "inputs": "Input", "imgsz": "Network sees", "started": "Started",
    "roadseg_version": "roadseg", "ids": "Mask values", "seconds": "Time",
    "lr": "Learning rate",
}  # fmt: skip


def facts(settings: Mapping[str, Any], **more: Any) -> list[tuple[str, str]]:
    """Settings as people read them; what is None is left out."""
    found = {**settings, **more}
    if found.get("imgsz"):
        found["imgsz"] = f"{found['imgsz']} pixels"
    if found.get("seconds"):
        found["seconds"] = f"{found['seconds']:.1f} s"
    ordered = {key: found.pop(key) for key in ("command_line",) if key in found} | found
    names = [(called(key), value) for key, value in ordered.items()]
    return [(name, plain(value)) for name, value in names if value is not None and value != ""]


def called(name: str) -> str:
    """The name of a setting as people write it."""
    return _NAMES.get(name, name.replace("_", " ").capitalize())


def plain(value: Any) -> str:
    """A setting as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {plain(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)

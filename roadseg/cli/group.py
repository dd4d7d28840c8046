"""How commands end that fail: a line for people, with --json a document for programs, and an exit code."""

import errno
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from types import FrameType
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from roadseg.cli import render
from roadseg.documents import header
from roadseg.errors import RoadsegError

NO_LIBGL = (
    "OpenCV needs libGL, which this machine lacks. Use its build without windows: "
    "pip uninstall -y opencv-python && pip install opencv-python-headless"
)


class RoadsegGroup(TyperGroup):
    """Turns a user's mistake into one line and an exit code; a bug of ours keeps its traceback."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        # looked for here, because a command line that is wrong has no options yet
        as_json = "--json" in takewhile(lambda word: word != "--", args)
        with _told(as_json):
            context = super().make_context(info_name, args, *rest, **extra)
        context.meta["json"] = as_json
        return context

    def invoke(self, ctx: Any) -> Any:
        with _told(ctx.meta["json"]), _terminable():
            return super().invoke(ctx)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM (`kill`, a scheduler's end of time) ends a command as Ctrl-C does: in order."""
    if threading.current_thread() is not threading.main_thread():  # where signals cannot be set
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGTERM)
    if before == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _told(as_json: bool) -> Iterator[None]:
    def document(message: str, exit_code: int) -> None:
        if as_json:
            render.print_json({**header("error"), "message": message, "exit_code": exit_code})

    def fail(message: str, exit_code: int, notes: Sequence[str] = ()) -> typer.Exit:
        render.error(message)
        for text in notes:
            render.note(text)
        document("\n".join([message, *notes]), exit_code)
        return typer.Exit(exit_code)

    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except RoadsegError as error:
        raise fail(str(error), error.exit_code, _notes(error)) from error
    except KeyboardInterrupt as error:
        said = ["Interrupted.", *_notes(error)]
        for text in said:
            render.note(text)
        document("\n".join(said), 130)
        raise typer.Exit(130) from error
    except Exception as error:
        if isinstance(error, ImportError) and "libGL" in str(error):
            raise fail(NO_LIBGL, 1) from error
        if isinstance(error, OSError) and not error.filename and error.errno in (errno.ENOSPC, errno.EPIPE):
            render.error(f"the results cannot be printed ({error.strerror}); send them to another place.")
            raise typer.Exit(1) from error
        # What is left is Typer's own, which it shows itself (a wrong command line), or a bug.
        usage = getattr(error, "format_message", None)
        document(usage() if usage else f"{type(error).__name__}: {error}", getattr(error, "exit_code", 1))
        raise


def _notes(error: BaseException) -> Sequence[str]:
    """What was noted on its way: how far the job came, and what to run to go on."""
    notes: list[str] = getattr(error, "__notes__", [])
    return notes

"""How commands end that fail: a line for people, with --json a document for programs, and an exit code."""

import errno
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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


_signalled = threading.Event()


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM (`kill`, a scheduler's end of time) ends a command as Ctrl-C does: in order."""
    if threading.current_thread() is not threading.main_thread():  # where signals cannot be set
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        _signalled.set()
        raise KeyboardInterrupt

    _signalled.clear()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if _signalled.is_set() and hasattr(signal, "SIGCHLD"):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's raises at exit what its readers died of


def raise_if_signalled() -> None:
    """Raise the KeyboardInterrupt of a signal that has come and gone.

    Python drops what is raised while it frees an object, which a training does all the time.
    """
    if _signalled.is_set():
        raise KeyboardInterrupt


@contextmanager
def _told(as_json: bool) -> Iterator[None]:
    def document(message: str, exit_code: int) -> None:
        if not as_json:
            return
        with suppress(OSError):  # where it cannot be printed, the error itself is the one to tell
            render.print_json({**header("error"), "message": message, "exit_code": exit_code})

    def fail(message: str, exit_code: int, notes: Sequence[str] = ()) -> typer.Exit:
        render.error(message)
        for text in notes:
            render.note(text)
        document("\n".join([message, *notes]), exit_code)
        return typer.Exit(exit_code)

    def interrupted(error: BaseException) -> typer.Exit:
        said = ["Interrupted.", *_notes(error)]
        for text in said:
            render.note(text)
        document("\n".join(said), 130)
        return typer.Exit(130)

    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except RoadsegError as error:
        raise fail(str(error), error.exit_code, _notes(error)) from error
    except KeyboardInterrupt as error:
        raise interrupted(error) from error
    except Exception as error:
        if _signalled.is_set():  # what went wrong, went wrong because it was to end
            raise interrupted(error) from error
        if isinstance(error, ImportError) and "libGL" in str(error):
            raise fail(NO_LIBGL, 1) from error
        if isinstance(error, OSError) and not error.filename and error.errno in (errno.ENOSPC, errno.EPIPE):
            render.error(f"the results cannot be printed ({error.strerror}); send them to another place.")
            raise typer.Exit(1) from error
        # What is left is Typer's own, which it shows itself (a wrong command line), or a bug.
        usage = getattr(error, "format_message", None)
        document(usage() if usage else f"{type(error).__name__}: {error}", getattr(error, "exit_code", 1))
        raise


def _notes(error: BaseException | None) -> Sequence[str]:
    """What was noted on its way: how far the job came, and what to run to go on.

    Also of the errors before it: one that comes while another is on its way takes its place.
    """
    notes: list[str] = []
    while error:
        notes = [*getattr(error, "__notes__", []), *notes]
        error = error.__context__
    return list(dict.fromkeys(notes))

"""The one family of errors that a user can cause; `cli` catches them once and exits with `exit_code`.

A message says what is wrong, where, and what to do next, in one line if it can.
"""


class RoadsegError(Exception):
    """Base of every error that is the input's fault, not the program's."""

    exit_code = 1


class ConfigError(RoadsegError):
    """A setting has a value that cannot work (exit code 2, as for any wrong use of the command line)."""

    exit_code = 2


class DatasetError(RoadsegError):
    """A data set, a label file or a label scheme is not what it must be."""


class CheckpointError(RoadsegError):
    """A checkpoint is missing, damaged, unsafe to load, or made for something else."""


class MediaError(RoadsegError):
    """A picture or a video cannot be read."""


class ReportError(RoadsegError):
    """Reports of runs cannot be compared, or are no shards of one run."""


class OutputError(RoadsegError):
    """A result cannot be written, or writing it would overwrite something."""


class BusyError(OutputError):
    """Another run is writing there."""


class LongNameError(OutputError):
    """A result's name is too long for its disk; the next one may well be written."""


class MemoryLimitError(RoadsegError):
    """A picture needs more memory than there is, even alone."""


class ExtraError(RoadsegError):
    """An optional part of roadseg is not installed."""


def first_line(error: BaseException) -> str:
    """The first line of a library's error, for a message of ours."""
    return (str(error) or type(error).__name__).splitlines()[0]

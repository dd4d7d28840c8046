"""Opening what FFmpeg can read, and the streams in it."""

import sys
from pathlib import Path
from typing import Final

import av

from roadseg.errors import MediaError

_NETWORK_TIMEOUT: Final = 20.0  # seconds
_MOST_PIXELS: Final = 89_000_000  # of a frame: as of pictures; 8K has 33 million
# Formats that are lists of other files or addresses: of a stranger's video they would read what it likes.
_LISTS: Final = frozenset(
    {"concat", "dash", "hls", "image2", "imf", "lavfi", "rtp", "rtsp", "sap", "sdp", "vobsub"}
    | {"webm_dash_manifest"}
)
# Where FFmpeg finds camera number N, and by which of its devices.
_CAMERAS: Final = {"darwin": ("{}", "avfoundation"), "win32": ("video={}", "dshow")}


def open_container(source: str) -> av.container.InputContainer:
    """Open a file, camera (`0`, `1`) or network stream; raises MediaError."""
    if not source:
        raise MediaError("the name of the input is empty; give a video, a folder, a camera or a stream")
    there = Path(source).exists()
    camera = source.isdecimal() and not there
    options = {"rtsp_transport": "tcp"} if source.startswith("rtsp") else {}
    try:
        if camera:
            place, kind = _CAMERAS.get(sys.platform, ("/dev/video{}", "v4l2"))
            return av.open(place.format(source), format=kind)
        if there:
            if not Path(source).is_file():  # of a pipe one would wait for ever
                raise MediaError(
                    f"{source}: is no regular file; save the video to a file, or name a camera by its number"
                )
            options["format_whitelist"] = ",".join(av.formats_available - _LISTS)
        # a name with a colon would else be taken for a protocol
        place = f"file:{source}" if there else source
        return av.open(
            place,
            options=options,
            metadata_errors="replace",
            timeout=_NETWORK_TIMEOUT if "://" in source else None,
        )
    except (FileNotFoundError, av.error.FileNotFoundError) as error:
        what = "no such camera; plug it in" if camera else "no such file; check the name"
        raise MediaError(f"{source}: {what}") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise MediaError(
            f"{source}: is no video that can be opened ({why}); it may be cut short or of an unknown format"
        ) from error


def video_stream(container: av.container.InputContainer, source: str) -> av.VideoStream:
    """The first stream of moving pictures; raises MediaError where there is none."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:  # the cover of a song
            # FFmpeg's own limit would let a few bytes ask for gigabytes a frame, in each of its threads
            if stream.codec_context is not None:  # of a known codec
                stream.codec_context.options = {"max_pixels": str(_MOST_PIXELS)}
            return stream
    raise MediaError(f"{source}: holds no video stream; give a video, or pictures to `roadseg segment`")


def sound_and_subtitles(container: av.container.InputContainer) -> list[av.stream.Stream]:
    """Audio and subtitles of known codecs."""
    streams = [*container.streams.audio, *container.streams.subtitles]
    return [stream for stream in streams if stream.codec_context is not None]

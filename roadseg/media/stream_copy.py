"""Streams of sound and subtitles that pass through as they are, and what has to be done for that."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import Any, Final

import av
from av.bitstream import BitStreamFilterContext

_EMPTY_CUE: Final = b"\0\0"  # 3GPP TS 26.245: a text of length 0
# What a file says of how it was made, or of its streams' sizes and times: of a new file it is not true.
_ABOUT_THE_FILE: Final = frozenset({
    "encoder", "encoding_tool", "encoded_by", "creation_tool", "software", "vendor_id", "company_name",
    "product_name", "product_version", "major_brand", "minor_version", "compatible_brands", "duration", "bps",
    "number_of_frames", "number_of_bytes", "timecode", "rotate",
})  # fmt: skip


def still_true(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata of a source, or of one of its streams, that holds of a file made from it."""
    return {
        key: value
        for key, value in metadata.items()
        # Matroska adds a language: DURATION-eng
        if not key.startswith("_") and key.lower().partition("-")[0] not in _ABOUT_THE_FILE
    }


class StreamCopy:
    """A stream of a source, on its way into another file."""

    def __init__(self, source: Any, container: av.container.OutputContainer) -> None:
        """Prepare a copy of the stream `source` for a file like `container`.

        Raises ValueError or av.error.FFmpegError where such a file cannot hold it.
        """
        self.target: Any = None
        self.damaged = 0
        self._template = _trial(source, container.format.name)
        self._metadata, self._disposition = still_true(source.metadata), source.disposition
        if "name" in self._metadata:  # what FFmpeg reads from an MP4 by this name, it writes by the other
            self._metadata.setdefault("title", self._metadata.pop("name"))
        codec = name_of(source)
        bare_aac = codec == "aac" and not source.codec_context.extradata  # as in MPEG-TS: ADTS frames
        self._unframe = BitStreamFilterContext("aac_adtstoasc", source) if bare_aac else None
        self._timed_text = codec == "mov_text"
        # An MP4 hides what comes before time 0, as the priming of AAC does. Matroska can do so, too, but
        # FFmpeg knows how much only of Opus, whose packets say it.
        from_mp4 = "mp4" in source.container.format.name
        self._cut_off = from_mp4 and container.format.name in ("matroska", "webm") and codec != "opus"

    def add_to(self, container: av.container.OutputContainer, template: Any = None) -> None:
        """Make `target`, a stream of the container for this one, or for what an earlier copy became."""
        self.target = container.add_stream_from_template(template or self._template, opaque=True)
        self.target.metadata.update(self._metadata)
        self.target.disposition = self._disposition

    def packets(self, packet: av.Packet) -> Iterator[av.Packet]:
        """Yield what becomes of a packet of the source."""
        if self._timed_text and bytes(packet)[:2] == _EMPTY_CUE:
            return  # MP4 fills gaps between texts with these; the new file gets its own
        if self._cut_off and packet.pts < 0:
            heard = packet.pts + (packet.duration or 0)
            if heard <= -packet.pts:  # at most half of it
                return
            packet.pts, packet.dts, packet.duration = 0, 0, heard
        try:
            yield from self._unframe.filter(packet) if self._unframe else (packet,)
        except av.error.FFmpegError:  # a header of nonsense; the rest goes on
            self.damaged += 1


def name_of(stream: Any) -> str:
    """Return the name of a stream's codec, whatever FFmpeg's decoder for it is called."""
    return str(stream.codec_context.codec.canonical_name)


def _trial(source: Any, format_name: str) -> Any:
    """The stream in a file in memory that holds nothing else: many a misfit shows only in the header.

    It stays when its source is closed, and can be the template of others.
    """
    trial = av.open(io.BytesIO(), "w", format=format_name)
    stream = trial.add_stream_from_template(source, opaque=True)
    trial.start_encoding()
    with contextlib.suppress(av.error.FFmpegError):  # a few cannot be ended without a packet
        trial.close()
    return stream

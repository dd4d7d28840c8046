"""Packets on their way from the fragments of a growing MP4 into the whole one."""

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import av


def with_an_end(
    packets: Iterable[av.Packet], video: Any, length: Fraction, gap: Fraction
) -> Iterator[av.Packet]:
    """Yield a file's packets, its video lasting for `length` seconds, of which its last frame takes `gap`.

    Fragments keep no durations but the gaps from packet to packet. With B-frames and a rate that varies,
    those say nothing of how long the frame that is shown last is to stay, and need not add up to the whole.
    """
    held: av.Packet | None = None
    first = delay = 0
    for packet in packets:
        if packet.dts is None:  # the empty one at the end
            continue
        if packet.stream is not video:
            yield packet
            continue
        if held is None:
            first, delay = packet.pts, packet.pts - packet.dts
        else:
            yield held
        left = first + round(length / packet.time_base) - packet.pts
        shown = round(gap / packet.time_base)
        packet.duration = shown if left <= shown else min(packet.duration, left)
        held = packet
    if held is None:
        return
    end = first + round(length / held.time_base) - delay
    held.dts = max(held.dts, held.pts - delay)
    held.duration = max(round(gap / held.time_base), end - held.dts)
    yield held


def moved(packets: Iterable[av.Packet], targets: Mapping[int, Any]) -> Iterator[av.Packet]:
    """Give each packet the stream that replaces its own."""
    for packet in packets:
        packet.stream = targets[packet.stream.index]
        yield packet


def decoded_at(packet: av.Packet) -> Fraction:
    """Return the second at which a packet is to be decoded: the order of a file."""
    return Fraction(packet.dts * packet.time_base)

"""The time stamps of a stream: made to grow, whatever damage did to them, and watched for what is missing."""

from typing import Final

# Seconds that a stream may pause for; recordings that were joined jump by hours.
_JUMP: Final = 10.0
# Seconds by which a stamp may be off the line before it is doubted.
_DOUBT: Final = 1.0
# A stream keeps a steady rate if this share of its steps is of one length.
_STEADY: Final = 0.95


class Clock:
    """Turns the stamps of one stream, in units of `unit` seconds, into stamps that always grow.

    Where clocks may start again, a stamp off the line is believed once the next one agrees with it: a single
    one is damage.
    """

    def __init__(self, unit: float, step: int, *, jumps: bool) -> None:
        """step: usual distance of two stamps. jumps: the format's clock may start again (MPEG-TS)."""
        self._unit, self._step, self._jumps = unit, max(1, step), jumps
        self._shift = 0
        self._doubted: int | None = None
        self._last: int | None = None
        self._steps = self._usual = self._lost = 0

    def tell(self, stamp: int | None, first: int = 0) -> int:
        """The time of the next frame or packet; None: the file does not say (of the first one: `first`)."""
        if self._last is None:
            self._last = first if stamp is None else stamp
            return self._last
        following = self._last + self._step
        now = following if stamp is None else stamp + self._shift
        ahead = (now - following) * self._unit
        if self._jumps and (now <= self._last or ahead > _DOUBT):
            lasts = self._doubted is not None and abs(now - self._doubted) * self._unit < _DOUBT
            self._doubted = now
            if not lasts:
                now = following
            elif not 0 < ahead < _JUMP:
                self._shift += following - now
                now, self._doubted = following, None
        elif now <= self._last:
            now = following
        else:
            self._doubted = None
        self._watch(now - self._last)
        self._last = now
        return now

    @property
    def lost(self) -> int:
        """Frames that are missing between others, where the rate is steady enough to tell; else 0."""
        return self._lost if self._usual >= _STEADY * self._steps else 0

    def _watch(self, distance: int) -> None:
        self._steps += 1
        frames = round(distance / self._step)
        # containers round times: Matroska to 1 ms
        usual = abs(distance - self._step) * self._unit <= max(0.0015, 0.05 * self._step * self._unit)
        self._usual += usual
        if frames >= 2:
            self._lost += frames - 1

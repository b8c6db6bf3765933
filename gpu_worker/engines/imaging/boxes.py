"""Boxes within pictures: where they lie, and whether they fit."""

from __future__ import annotations

from dataclasses import dataclass

Size = tuple[int, int]

# Where the room is that remains, as shares of it to the left and above.
_SHARES = {"west": 0.0, "east": 1.0, "north": 0.0, "south": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Whole pixels; left and top are inside, right and bottom are not."""

    left: int
    top: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )

    @property
    def edges(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom."""
        right, bottom = self.left + self.width, self.top + self.height
        return self.left, self.top, right, bottom

    def grown(self, by_px: int, *, within: Size) -> Box:
        """With so much more on every side, as far as there is more."""
        left, top, right, bottom = self.edges
        left, top = max(0, left - by_px), max(0, top - by_px)
        right = min(within[0], right + by_px)
        bottom = min(within[1], bottom + by_px)
        return Box(left=left, top=top, width=right - left, height=bottom - top)

    def is_within(self, size_px: Size) -> bool:
        _, _, right, bottom = self.edges
        return right <= size_px[0] and bottom <= size_px[1]


def at_gravity(outer: Size, inner: Size, gravity: str) -> Box:
    """A box of the inner size at that side or corner of the outer one."""
    names = gravity.split("-")
    shares = {name: _SHARES[name] for name in names if name in _SHARES}
    across = next((shares[n] for n in ("west", "east") if n in shares), 0.5)
    down = next((shares[n] for n in ("north", "south") if n in shares), 0.5)
    return Box(
        left=int((outer[0] - inner[0]) * across),
        top=int((outer[1] - inner[1]) * down),
        width=inner[0],
        height=inner[1],
    )


def around(outer: Size, inner: Size, focus: tuple[float, float]) -> Box:
    """A box of the inner size with the point in its middle, as far as it stays inside.

    `focus`: shares of the outer width and height.
    """
    places = (
        max(0, min(round(share * whole - part / 2), whole - part))
        for share, whole, part in zip(focus, outer, inner, strict=True)
    )
    left, top = places
    return Box(left=left, top=top, width=inner[0], height=inner[1])

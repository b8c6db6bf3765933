"""Whether paint is the whole object or a blob on it: by which outline the image shows.

Paint is cut out in both ways, as the object's probable extent and as a part of what may
be larger. An object's outline parts two colours nearly everywhere; one that was stopped
by the limits of the paint runs through a surface that is alike on both sides.
"""

from __future__ import annotations

import cv2
import numpy as np

from gpu_worker.engines.smart_mask.pieces import Floats
from gpu_worker.engines.smart_mask.prompts import Mask
from gpu_worker.pixels import Pixels

# Colours this far apart (CIE76), on average over windows of so many pixels, are seen to
# be two.
SEEN, WINDOW_PX = 8.0, 9
# What the paint is a part of holds nearly all of it: else the paint reaches over it.
HOLDS = 0.97
# The outline of the larger is preferred where that of the paint's cut is seen this much
# less of its length.
LESS_SEEN = 0.85
# A little less is enough where the paint follows no edges itself, and is either nearly
# as large (painted in haste) or much smaller (a blob, between edges by chance). Between
# these the larger may well be two things, one of which was painted.
LITTLE_LESS_SEEN, FOLLOWS = 0.95, 0.8
NEARLY_AS_LARGE, MUCH_LARGER = 1.5, 3.0
FRAME_PX = 2
SQUARE = np.ones((3, 3), np.uint8)


class Paint:
    """A guiding mask over a small image, and what was cut out as covered by it."""

    def __init__(self, rgb: Pixels, guide: Mask, cut: Mask) -> None:
        self._lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
        self._guide = self._small(guide)
        self._follows = self._seen(self._guide)
        self._cut_seen = self._seen(self._small(cut))

    def is_the_object(self) -> bool:
        """Whether nothing that it could be a part of would have a better outline."""
        least = LESS_SEEN if self._follows >= FOLLOWS else LITTLE_LESS_SEEN
        return self._cut_seen >= least

    def is_part_of(self, larger: Mask) -> bool:
        """Whether that is the object rather than the cut."""
        larger = self._small(larger)
        painted = max(1, int(self._guide.sum()))
        if int((larger & self._guide).sum()) < HOLDS * painted:
            return False
        seen = self._seen(larger)
        is_between = NEARLY_AS_LARGE <= int(larger.sum()) / painted <= MUCH_LARGER
        is_usual = is_between or self._follows >= FOLLOWS * seen
        return self._cut_seen < (LESS_SEEN if is_usual else LITTLE_LESS_SEEN) * seen

    def _small(self, mask: Mask) -> Mask:
        size = self._lab.shape[1], self._lab.shape[0]
        whole = mask.astype(np.uint8) * 255
        return cv2.resize(whole, size, interpolation=cv2.INTER_AREA) > 127

    def _seen(self, mask: Mask) -> float:
        """The share of its outline that parts two colours; the image's border is no
        outline."""
        rim = mask & (cv2.erode(mask.astype(np.uint8), SQUARE) == 0)
        rim[:FRAME_PX], rim[-FRAME_PX:] = False, False
        rim[:, :FRAME_PX], rim[:, -FRAME_PX:] = False, False
        if not rim.any():
            return 0.0
        apart = self._near(mask) - self._near(~mask)
        return float((np.linalg.norm(apart, axis=2)[rim] > SEEN).mean())

    def _near(self, mask: Mask) -> Floats:
        """The mean colour of what of the mask is near each pixel."""
        weight = mask.astype(np.float32)
        window = WINDOW_PX, WINDOW_PX
        colours = cv2.blur(self._lab * weight[..., None], window)
        return colours / np.maximum(cv2.blur(weight, window), 1e-6)[..., None]

"""An edit's pictures as the model gets them, in the order in which it was trained.

Made in a child: foreign bytes are read here. `arrays` gives

    condition-0, -1, …   uint8 (H, W, 3): what the model is shown, in order
    canvas               int64 (8,): `sizes.Canvas.numbers`
    given, blend         uint8 (H, W, 3) and (H, W): what stays of the image where
                         `blend` is dark; only where something stays
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from gpu_worker import pixels
from gpu_worker.engines import geometry
from gpu_worker.engines.base import Input, Item, Picture
from gpu_worker.engines.imaging import canny, inpaint, layers
from gpu_worker.engines.parameters import edit
from gpu_worker.engines.qwen import placing, settings
from gpu_worker.engines.qwen.sizes import Canvas, of_edit
from gpu_worker.errors import InvalidParameters
from gpu_worker.pixels import Pixels

WHITE = (255, 255, 255)
MOST_PIXELS = 2_000_000
"""Of a picture that lies on no canvas: the pipeline makes a megapixel of it."""
SEAM_PX = 4
"""How softly what is painted under a mask runs into what stays."""
Arrays = dict[str, np.ndarray[Any, Any]]


def arrays(item: Item) -> Arrays:
    """What the device gets of a job. Raises WorkerError."""
    given = Given(item)
    task = item.parameters.get("task")
    shown = given.of_task(task) if task else given.of_prompt()
    made: Arrays = {f"condition-{n}": one for n, one in enumerate(shown)}
    made["canvas"] = np.array(given.canvas.numbers)
    if given.blend is not None:
        made |= {"given": given.image, "blend": given.blend}
    return made


class Given:
    """The pictures of one job. What lies on the canvas has its size."""

    def __init__(self, item: Item) -> None:
        self._item = item
        self._roles: dict[str, Input] = {}
        for one in item.inputs:
            self._roles.setdefault(one.role, one)
        if lacking := edit.missing(item.parameters, self._roles):
            names = " and ".join(lacking)
            raise InvalidParameters(f"This task needs an image as {names}.")
        is_placed = "task" in item.parameters or "mask" in self._roles
        first = self._roles["image"]
        size = pixels.upright_size(first.path)
        self.canvas = of_edit(size, item.parameters, is_placed=is_placed)
        self._whole = _flat(first)
        self.image = (
            self._on_canvas(self._whole)
            if is_placed
            else geometry.at_most(self._whole, MOST_PIXELS)
        )
        self.blend: Pixels | None = None

    def of_prompt(self) -> list[Pixels]:
        """All images in their order, the reference after them. With a mask only what it
        marks is new."""
        if "mask" in self._roles:
            mask = self._mask()
            layers.marked_box(mask)
            self.blend = cv2.GaussianBlur(mask, (0, 0), SEAM_PX)
        shown = [self.image, *self._further()]
        return [*shown, self._reference()] if "reference" in self._roles else shown

    def of_task(self, task: str) -> list[Pixels]:
        """The task's own pictures, then whatever else came along."""
        made = {
            "insertion": self._insertion,
            "removal": self._removal,
            "white-balance": self._white_balance,
        }[task]()
        names = list(edit.CONDITIONS[task])
        if task == "removal":
            names[0] = settings.removal_begins_with()
        return [*(made[name] for name in names), *self._further()]

    def _insertion(self) -> dict[str, Pixels]:
        mask = self._mask()
        if "reference_mask" not in self._roles:
            ground = _holed(self.image, mask)
        else:
            outline = layers.mask_like(
                _flat(self._roles["reference"]), _read(self._roles["reference_mask"])
            )
            things = placing.placed(outline, mask)
            mask = placing.union(things)
            ground, new = placing.shadowed(_holed(self.image, mask), things)
            self.blend = cv2.GaussianBlur(new, (0, 0), SEAM_PX / 2)
        return {
            "reference": self._reference(),
            "mask": _shown(mask),
            "masked_background": ground,
        }

    def _removal(self) -> dict[str, Pixels]:
        mask = self._mask()
        return {
            "image": self.image,
            "masked_background": _holed(self.image, mask),
            "mask": _shown(mask),
            "mae": self._on_canvas(self._filled()),
        }

    def _white_balance(self) -> dict[str, Pixels]:
        edges = canny.apply(Picture(pixels=self._content()), {}, {}).pixels
        return {"image": self.image, "canny": self._on_canvas(edges)}

    def _filled(self) -> Pixels:
        """The image, without the bars, with the hole filled in from around it."""
        content = self._content()
        left, top, width, height = self._content_window()
        mask = self._mask()[top : top + height, left : left + width]
        hole = (mask > layers.MARKED).astype(np.uint8)
        if self._item.parameters.get("mask_tool") == "brush":
            hole = inpaint.widened(hole, edit.BRUSH_DILATION_PX)
        if hole.all():
            return np.zeros_like(content)
        return inpaint.filled(content, hole, inpaint.RADIUS_PX, cv2.INPAINT_TELEA)

    def _reference(self) -> Pixels:
        """The object alone on white, where its mask says what it is."""
        shown = _flat(self._roles["reference"])
        if "reference_mask" in self._roles:
            mask = layers.mask_like(shown, _read(self._roles["reference_mask"]))
            layers.marked_box(mask)
            shown = pixels.flatten(layers.with_alpha(shown, mask), WHITE)
        return geometry.at_most(shown, MOST_PIXELS)

    def _further(self) -> list[Pixels]:
        images = [one for one in self._item.inputs if one.role == "image"]
        return [geometry.at_most(_flat(one), MOST_PIXELS) for one in images[1:]]

    def _mask(self) -> Pixels:
        """(H, W) of the canvas; the bars are not marked."""
        mask = layers.mask_like(self._whole, _read(self._roles["mask"]))
        mask = self._on_canvas(np.where(mask > layers.MARKED, np.uint8(255), 0))
        layers.marked_box(mask)
        return mask

    def _content(self) -> Pixels:
        left, top, width, height = self._content_window()
        return np.ascontiguousarray(self.image[top : top + height, left : left + width])

    def _content_window(self) -> tuple[int, int, int, int]:
        """Where the image lies on the canvas."""
        bare = {
            name: value
            for name, value in self._item.parameters.items()
            if name not in ("width", "height")
        }
        height, width = self._whole.shape[:2]
        return of_edit((width, height), bare, is_placed=True).window

    def _on_canvas(self, picture: Pixels) -> Pixels:
        """The picture in the image's size, in its place, black around it."""
        left, top, width, height = self._content_window()
        made = np.zeros((*self.canvas.size_px[::-1], *picture.shape[2:]), np.uint8)
        if picture.ndim == 2:
            near = cv2.INTER_NEAREST_EXACT
            shown = cv2.resize(picture, (width, height), interpolation=near)
        else:
            shown = geometry.resized(picture, width, height)
        made[top : top + height, left : left + width] = shown
        return made


def painted(made: Arrays) -> tuple[Canvas, list[Pixels]]:
    """The results of `pictures` (n, H, W, 3): blended, cut out and resized."""
    canvas = Canvas.of(made["canvas"])
    return canvas, [_result(one, canvas, made) for one in made["pictures"]]


def _result(picture: Pixels, canvas: Canvas, made: Arrays) -> Pixels:
    if "blend" in made:
        share = made["blend"].astype(np.uint16)[..., None]
        mixed = picture * share + made["given"] * (255 - share)
        picture = ((mixed + 127) // 255).astype(np.uint8)
    left, top, width, height = canvas.window
    kept = np.ascontiguousarray(picture[top : top + height, left : left + width])
    return geometry.resized(kept, *canvas.result_px)


def _holed(picture: Pixels, mask: Pixels) -> Pixels:
    """Black where the mask is white."""
    made = picture.copy()
    made[mask > layers.MARKED] = 0
    return made


def _shown(mask: Pixels) -> Pixels:
    return cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB)


def _flat(one: Input) -> Pixels:
    """(H, W, 3): what is transparent is white."""
    return pixels.flatten(_read(one), WHITE)


def _read(one: Input) -> Pixels:
    return pixels.decode(one.path)

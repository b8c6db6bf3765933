"""FastSAM (Zhao, 2023): a YOLOv8 that segments whatever there is.

    images -> boxes, scores, coefficients (n, 32) and prototypes (32, h/4, w/4)
           -> the best boxes that do not overlap
           -> mask = coefficients @ prototypes > 0, within its box

ultralytics reads the weights and has the layers; what is asked about an image, and the
image, never reach it but as a tensor. Its own predictor keeps prompts as state, one for
a whole batch, and enlarges every mask before it chooses: so the steps around the
network are ours, on the device, and its masks stay small until one is chosen.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gpu_worker.engines import devices, torchvision_shim
from gpu_worker.engines.smart_mask import choosing, readings
from gpu_worker.engines.smart_mask.asking import Asked, Object
from gpu_worker.engines.smart_mask.choosing import Found, Pick
from gpu_worker.engines.smart_mask.seeing import Candidate
from gpu_worker.errors import EngineUnavailable
from gpu_worker.pixels import Pixels

torchvision_shim.ensure()

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402, N812
import torchvision  # noqa: E402

Tensor = Any

# The author's settings of everything mode; so many are looked at, and kept.
LEAST_SCORE, MOST_OVERLAP = 0.4, 0.9
MOST_BOXES, MOST_MASKS = 1000, 300
PROTOTYPE_PX = 4
# ultralytics pads images with this grey.
GREY = 114 / 255
# A chosen mask is drawn at twice the prototypes' size, so that its outline is smooth.
FINER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What was found in one image, on the device, the surest first.

    `prototypes` (32, rows, columns), `coefficients` (n, 32); `boxes` (n, 4) in pixels
    of the prototypes, `scores` (n).
    """

    prototypes: Tensor
    coefficients: Tensor
    boxes: Tensor
    scores: Tensor

    @property
    def size_bytes(self) -> int:
        tensors = self.prototypes, self.coefficients, self.boxes, self.scores
        return sum(one.nbytes for one in tensors)

    def masks(self) -> Tensor:
        """All of them, bool (n, rows, columns)."""
        return _within(self._logits(slice(None)) > 0, self.boxes)

    def mask(self, pick: Pick) -> Tensor:
        """The picked ones together, bool at `FINER` times the size."""
        drawn = self._finer(pick.add).any(dim=0)
        if pick.without:
            drawn &= ~self._finer(pick.without).any(dim=0)
        return drawn

    def _finer(self, rows: Sequence[int]) -> Tensor:
        logits = self._logits(list(rows))
        finer = F.interpolate(logits[None], scale_factor=FINER, mode="bilinear")[0]
        return _within(finer > 0, self.boxes[list(rows)] * FINER)

    def _logits(self, rows: Any) -> Tensor:
        flat = self.prototypes.flatten(1)
        logits = self.coefficients[rows] @ flat
        return logits.view(-1, *self.prototypes.shape[1:])


class FastSam:
    """The network on its device. `side_px`: the square that images are fitted into."""

    def __init__(self, layers: Any, side_px: int) -> None:
        self._device = devices.device()
        self._dtype = devices.dtype_for(self._device)
        self._side_px = side_px
        layers = layers.fuse(verbose=False).eval().to(self._device, self._dtype)
        self._layers = layers.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def look(self, images: Sequence[Pixels]) -> list[Scene]:
        batch, sizes = self._batch(images)
        # The fastest kernel for each number of images: they are tried in warm-up.
        with torch.backends.cudnn.flags(enabled=True, benchmark=True):
            (outputs, prototypes), *_ = self._layers(batch)
        boxes, scores, coefficients, counts = kept(outputs)
        scenes, start = [], 0
        for number, (size, count) in enumerate(zip(sizes, counts, strict=True)):
            rows = slice(start, start + count)
            scenes.append(
                _scene(
                    prototypes[number],
                    size,
                    boxes[rows],
                    scores[rows],
                    coefficients[rows],
                )
            )
            start += count
        return scenes

    @torch.inference_mode()
    def candidates(self, seen: Scene, asked: Asked) -> list[Candidate]:
        masks = seen.masks()
        choices = [_meant(seen, masks, asked, one) for one in asked.objects()]
        if not all(choices):
            return []
        # The n-th candidate of several objects has each object's n-th, or its last.
        made = []
        for number in range(max(map(len, choices))):
            together = [one[min(number, len(one) - 1)] for one in choices]
            drawn = torch.stack([seen.mask(pick) for pick in together]).any(dim=0)
            score = min(pick.score for pick in together)
            made.append(Candidate(mask=drawn.cpu().numpy(), score=score))
        return made

    def _batch(self, images: Sequence[Pixels]) -> tuple[Tensor, list[tuple[int, int]]]:
        """(n, 3, side, side), 0 to 1, and the (height, width) of each image in it,
        which begins in the upper left corner."""
        side = self._side_px
        batch = torch.full(
            (len(images), 3, side, side), GREY, dtype=self._dtype, device=self._device
        ).to(memory_format=torch.channels_last)
        sizes = []
        for place, image in zip(batch, images, strict=True):
            pixels = torch.from_numpy(image).to(self._device).permute(2, 0, 1)
            height, width = size = _fitted(image.shape[:2], side)
            scaled = pixels[None].float() / 255
            if size != image.shape[:2]:
                scaled = F.interpolate(scaled, size, mode="bilinear", antialias=True)
            place[:, :height, :width] = scaled[0]
            sizes.append(size)
        return batch, sizes


def read(file: Path, side_px: int) -> FastSam:
    """The network of a checkpoint. Raises EngineUnavailable for one that is none, or
    that holds more than weights and known layers: such a file could run code."""
    prepare()
    from ultralytics import FastSAM

    try:
        layers = FastSAM(file).model
    except (TypeError, AttributeError, OSError) as error:
        raise EngineUnavailable(f"{file.name} is no FastSAM checkpoint.") from error
    return FastSam(layers, side_px)


def prepare() -> None:
    """Import ultralytics so that it installs nothing, fetches nothing, unpickles
    weights alone, has its settings in a folder that nobody else fills, and leaves
    Pillow and torch as they are."""
    if "YOLO_CONFIG_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="nijika-ultralytics-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["YOLO_CONFIG_DIR"] = folder
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["ULTRALYTICS_SAFE_LOAD"] = "1"
    os.environ.setdefault("YOLO_VERBOSE", "false")
    opened, saved = Image.open, torch.save
    import ultralytics.utils.patches  # noqa: F401

    # It replaces both for the whole process.
    Image.open, torch.save = opened, saved


def kept(outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, list[int]]:
    """The boxes worth keeping, of a whole batch at once.

    `outputs` is (batch, 4 + 1 + 32, anchors): middle and size of a box, its score, its
    coefficients. Returns boxes (n, 4) as left, top, right, bottom, scores (n),
    coefficients (n, 32), image by image, the surest first, and how many of each image.
    """
    scores, order = outputs[:, 4].topk(min(MOST_BOXES, outputs.shape[2]), dim=1)
    rows = outputs.gather(2, order[:, None].expand(-1, outputs.shape[1], -1))
    rows = rows.transpose(1, 2)
    number, place = (scores > LEAST_SCORE).nonzero(as_tuple=True)
    rows = rows[number, place]
    # In single precision: halves cannot tell 1023.4 from 1024.
    middle, half = rows[:, :2].float(), rows[:, 2:4].float() / 2
    boxes, sure = torch.cat([middle - half, middle + half], dim=1), rows[:, 4].float()
    left = torchvision.ops.batched_nms(boxes, sure, number, MOST_OVERLAP)
    # By image, and in it by score, which the order of the rows is already.
    left, _ = left.sort()
    counts = torch.bincount(number[left], minlength=len(outputs))
    left = left[_rank(counts) < MOST_MASKS]
    counts = counts.clamp(max=MOST_MASKS).tolist()
    return boxes[left], sure[left], rows[left, 5:], counts


def _rank(counts: Tensor) -> Tensor:
    """0, 1, … for each image's rows."""
    begins = counts.cumsum(0) - counts
    rows = torch.arange(int(counts.sum()), device=counts.device)
    return rows - begins.repeat_interleave(counts)


def _scene(
    prototypes: Tensor,
    size: tuple[int, int],
    boxes: Tensor,
    scores: Tensor,
    coefficients: Tensor,
) -> Scene:
    """One image's part, without the padding around it."""
    rows, columns = (-(-side // PROTOTYPE_PX) for side in size)
    limits = torch.tensor([columns, rows] * 2, device=boxes.device)
    return Scene(
        prototypes=prototypes[:, :rows, :columns].contiguous(),
        coefficients=coefficients,
        boxes=torch.minimum((boxes / PROTOTYPE_PX).clamp(min=0), limits),
        scores=scores,
    )


def _meant(seen: Scene, masks: Tensor, asked: Asked, wanted: Object) -> list[Pick]:
    choices = _choices(seen, masks, wanted)
    if wanted.guide is None:
        return choices
    return readings.likelier_first(
        asked,
        choices,
        lambda: _choices(seen, masks, wanted.as_part()),
        lambda pick: seen.mask(pick).cpu().numpy(),
    )[: choosing.MOST_PICKS]


def _choices(seen: Scene, masks: Tensor, wanted: Object) -> list[Pick]:
    """What one object may be."""
    found = table(seen, masks, wanted)
    on_object = wanted.points[:, 2] > 0
    return choosing.picks(found, on_object, wanted.box, is_subject=wanted.is_subject)


def table(seen: Scene, masks: Tensor, wanted: Object) -> Found:
    """The masks as numbers to choose by."""
    rows, columns = masks.shape[1:]
    areas = masks.float().mean(dim=(1, 2))
    rim = torch.cat([masks[:, 0], masks[:, :, 0], masks[:, :, -1]], dim=1)
    x = np.clip(wanted.points[:, 0] * columns, 0, columns - 1).astype(np.int64)
    y = np.clip(wanted.points[:, 1] * rows, 0, rows - 1).astype(np.int64)
    held = masks[:, torch.from_numpy(y), torch.from_numpy(x)]
    sides = torch.tensor([columns, rows] * 2, device=masks.device)
    # A mask of nothing is none.
    scores = seen.scores * (areas > 0)
    return Found(
        scores=scores.cpu().numpy(),
        areas=areas.cpu().numpy(),
        boxes=(seen.boxes / sides).cpu().numpy(),
        borders=rim.float().mean(dim=1).cpu().numpy(),
        held=held.cpu().numpy(),
        guided=None if wanted.guide is None else _guided(masks, wanted.guide),
    )


def _guided(masks: Tensor, guide: Pixels) -> Any:
    """How far each mask and the guide are the same: intersection over union."""
    painted = torch.from_numpy(guide).to(masks.device)[None, None].float()
    size = masks.shape[1:]
    painted = F.interpolate(painted, size, mode="bilinear", antialias=True)[0, 0] > 0.5
    shared = (masks & painted).flatten(1).sum(dim=1)
    union = (masks | painted).flatten(1).sum(dim=1).clamp(min=1)
    return (shared / union).cpu().numpy()


def _within(masks: Tensor, boxes: Tensor) -> Tensor:
    """The masks (n, rows, columns), each empty outside its box."""
    _, rows, columns = masks.shape
    left, top, right, bottom = boxes[:, :, None].unbind(dim=1)
    x = torch.arange(columns, device=masks.device)[None]
    y = torch.arange(rows, device=masks.device)[None]
    across, down = (x >= left) & (x < right), (y >= top) & (y < bottom)
    return masks & across[:, None, :] & down[:, :, None]


def _fitted(size: tuple[int, ...], side_px: int) -> tuple[int, int]:
    """(height, width) with the long side as long as the square's."""
    scale = side_px / max(size)
    height, width = (max(1, round(one * scale)) for one in size)
    return height, width

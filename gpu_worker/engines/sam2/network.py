"""SAM 2 (Ravi, 2024) for single images, as transformers has it.

    image -> three feature maps, once                       the large part
    them and a prompt -> masks and how good each may be     milliseconds

A prompt with one meaning (a box, several points, a painted mask) gets the mask that the
model makes for such, and its alternatives behind it; a single point is ambiguous, and
gets the whole, a part and a part of that, the likeliest first. A painted mask may cover
a part only: then points within it are asked instead (`smart_mask.readings`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpu_worker.engines import devices, torchvision_shim
from gpu_worker.engines.sam2.settings import Weights
from gpu_worker.engines.smart_mask import choosing, readings
from gpu_worker.engines.smart_mask.asking import Asked, Object
from gpu_worker.engines.smart_mask.choosing import Found
from gpu_worker.engines.smart_mask.seeing import Candidate
from gpu_worker.errors import EngineUnavailable
from gpu_worker.pixels import Pixels

torchvision_shim.ensure()

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402, N812

Tensor = Any

# Its image processor's (preprocessor_config.json of every published checkpoint).
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# sam2/modeling/sam2_base.py: a mask as a prompt, as if the decoder had made it.
PAINTED, UNPAINTED = 10.0, -10.0
MOST = choosing.MOST_PICKS
SAME = readings.SAME
# Where nothing is said, it is asked at each place of a grid, and in the middle.
GRID = 4
MIDDLE_BOX = (0.1, 0.1, 0.9, 0.9)
# A mask is drawn with so long a side, so that its outline is smooth.
DRAWN_SIDE_PX = 512
# The mask for prompts with one meaning goes before its alternatives, whatever they say
# of themselves; and one that misses a point is worse than any that does not.
AHEAD, MISSED = 1.0, 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """The feature maps of one image, on the device, the finest first."""

    maps: tuple[Tensor, ...]

    @property
    def size_bytes(self) -> int:
        return sum(one.nbytes for one in self.maps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What the decoder made: `logits` (n, rows, columns) and `scores` (n), 0 to 1."""

    logits: Tensor
    scores: Tensor


class Sam2:
    """The model on its device."""

    def __init__(self, model: Any) -> None:
        self._device = devices.device()
        self._dtype = devices.dtype_for(self._device)
        self._model = model.eval().to(self._device, self._dtype)
        size = model.config.vision_config.backbone_config.image_size
        self._side_px = size if isinstance(size, int) else size[0]
        if self._dtype != torch.float32:
            self._hold_finite()

    @torch.inference_mode()
    def look(self, images: Sequence[Pixels]) -> list[Embedding]:
        maps = self._model.get_image_embeddings(self._batch(images))
        return [
            Embedding(maps=tuple(one[number : number + 1].clone() for one in maps))
            for number in range(len(images))
        ]

    @torch.inference_mode()
    def candidates(self, seen: Embedding, asked: Asked) -> list[Candidate]:
        height, width = asked.rgb.shape[:2]
        scale = DRAWN_SIDE_PX / max(height, width)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        choices = [self._meant(seen, asked, one, size) for one in asked.objects()]
        if not all(choices):
            return []
        made = []
        for number in range(max(map(len, choices))):
            together = [one[min(number, len(one) - 1)] for one in choices]
            mask = np.logical_or.reduce([one.mask for one in together])
            score = min(one.score for one in together)
            made.append(Candidate(mask=mask, score=score))
        return made

    def _meant(
        self, seen: Embedding, asked: Asked, wanted: Object, size: tuple[int, int]
    ) -> list[Candidate]:
        choices = self._choices(seen, wanted, size)
        if wanted.guide is None:
            return choices
        return readings.likelier_first(
            asked,
            choices,
            lambda: self._choices(seen, wanted.as_part(), size),
            lambda one: one.mask,
        )[:MOST]

    def _choices(
        self, seen: Embedding, wanted: Object, size: tuple[int, int]
    ) -> list[Candidate]:
        """What one object may be, the likeliest first."""
        if wanted.is_subject:
            return self._subject(seen, size)
        prompt = _prompt(wanted, self._side_px, self._device, self._dtype)
        drawn = [self._decoded(seen, prompt, several=True)]
        if not _is_ambiguous(wanted):
            drawn.insert(0, self._decoded(seen, prompt, several=False))
        scores = torch.cat([one.scores for one in drawn])
        masks = _masks(torch.cat([one.logits for one in drawn]), size)
        ranks = scores - MISSED * _missed(masks, wanted.points)
        if len(drawn) > 1:
            ranks[0] += AHEAD
        return _distinct(masks, ranks, scores)

    def _subject(self, seen: Embedding, size: tuple[int, int]) -> list[Candidate]:
        """What the image is of, among all that a grid of points finds."""
        drawn = [
            self._decoded(seen, prompt, several=True)
            for prompt in _everywhere(self._side_px, self._device, self._dtype)
        ]
        scores = torch.cat([one.scores for one in drawn])
        small = torch.cat([one.logits for one in drawn]) > 0
        ranks = choosing.subject_ranks(_table(small, scores))
        best = torch.from_numpy(np.argsort(-ranks, kind="stable")[: 4 * MOST].copy())
        logits = torch.cat([one.logits for one in drawn])[best]
        masks = _masks(logits, size)
        found = torch.from_numpy(ranks).to(scores.device)[best]
        return _distinct(masks, found, scores[best])

    def _decoded(
        self, seen: Embedding, prompt: dict[str, Tensor], *, several: bool
    ) -> Drawn:
        made = self._model(
            image_embeddings=list(seen.maps), multimask_output=several, **prompt
        )
        return Drawn(
            logits=made.pred_masks.flatten(0, 2).float(),
            scores=made.iou_scores.flatten().float().clamp(0, 1),
        )

    def _batch(self, images: Sequence[Pixels]) -> Tensor:
        """(n, 3, side, side): SAM 2 squeezes images into a square."""
        side = self._side_px, self._side_px
        mean, deviation = (
            torch.tensor(one, device=self._device)[:, None, None]
            for one in (MEAN, DEVIATION)
        )
        made = []
        for image in images:
            pixels = torch.from_numpy(image).to(self._device).permute(2, 0, 1)[None]
            scaled = F.interpolate(
                pixels.float(), side, mode="bilinear", antialias=True
            )
            made.append((scaled / 255 - mean) / deviation)
        return torch.cat(made).to(self._dtype)

    def _hold_finite(self) -> None:
        """Single precision for weights with which half precision overflows."""
        grey = np.full((64, 64, 3), 127, np.uint8)
        if all(bool(one.isfinite().all()) for one in self.look([grey])[0].maps):
            return
        self._dtype = torch.float32
        self._model = self._model.float()


def read(weights: Weights) -> Sam2:
    """The model of a folder, or of a hub's revision. Raises EngineUnavailable."""
    from transformers import Sam2Model
    from transformers.utils import logging

    logging.disable_progress_bar()
    where = {"local_files_only": True} if weights.are_local else {}
    revision = {"revision": weights.revision} if weights.revision else {}
    try:
        model = Sam2Model.from_pretrained(
            weights.name, use_safetensors=True, **where, **revision
        )
    except (OSError, ValueError) as error:
        raise EngineUnavailable(f"{weights.name} has no SAM 2.") from error
    return Sam2(model)


def _is_ambiguous(wanted: Object) -> bool:
    """A single point may mean the button or the coat."""
    return wanted.box is None and wanted.guide is None and len(wanted.points) == 1


def _prompt(wanted: Object, side_px: int, device: str, dtype: Any) -> dict[str, Tensor]:
    """One object's prompt as the model takes it, in pixels of its square."""
    prompt: dict[str, Tensor] = {}
    if len(wanted.points):
        places = torch.from_numpy(wanted.points[:, :2]) * side_px
        labels = torch.from_numpy(wanted.points[:, 2].astype(np.int32))
        prompt["input_points"] = places[None, None].to(device)
        prompt["input_labels"] = labels[None, None].to(device)
    box = wanted.box
    if wanted.guide is not None:
        painted = torch.from_numpy(wanted.guide)[None, None].float().to(device)
        logits = painted * (PAINTED - UNPAINTED) + UNPAINTED
        square = F.interpolate(logits, (side_px // 4,) * 2, mode="bilinear")
        prompt["input_masks"] = square.to(dtype)
        box = _around(wanted.guide) if box is None else box
    if box is not None:
        corners = torch.from_numpy(np.asarray(box, np.float32)) * side_px
        prompt["input_boxes"] = corners[None, None].to(device)
    return prompt


def _everywhere(side_px: int, device: str, dtype: Any) -> list[dict[str, Tensor]]:
    """Prompts for all that the image may be of: points of a grid, and a large box."""
    steps = (torch.arange(GRID, device=device) + 0.5) / GRID * side_px
    down, across = torch.meshgrid(steps, steps, indexing="ij")
    points = torch.stack([across.flatten(), down.flatten()], dim=1)
    box = torch.tensor(MIDDLE_BOX, device=device) * side_px
    labels = torch.ones(1, len(points), 1, dtype=torch.int32, device=device)
    return [
        {"input_points": points[None, :, None], "input_labels": labels},
        {"input_boxes": box[None, None]},
    ]


def _around(guide: Pixels) -> Any:
    """The box around what is painted, as shares of the sides."""
    rows, columns = np.nonzero(guide)
    sides = np.array(guide.shape[::-1] * 2, np.float32)
    corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return np.array(corners, np.float32) / sides


def _masks(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """bool (n, *size), in the image's proportions."""
    return F.interpolate(logits[None], size, mode="bilinear")[0] > 0


def _missed(masks: Tensor, points: Any) -> Tensor:
    """How many points each mask is wrong about."""
    rows, columns = masks.shape[1:]
    x = np.clip(points[:, 0] * columns, 0, columns - 1).astype(np.int64)
    y = np.clip(points[:, 1] * rows, 0, rows - 1).astype(np.int64)
    held = masks[:, torch.from_numpy(y), torch.from_numpy(x)]
    wanted = torch.from_numpy(points[:, 2] > 0).to(masks.device)
    return (held != wanted).sum(dim=1)


def _distinct(masks: Tensor, ranks: Tensor, scores: Tensor) -> list[Candidate]:
    """Up to three that are not the same, the best rank first; none is empty."""
    chosen: list[Candidate] = []
    for row in ranks.argsort(descending=True, stable=True).tolist():
        mask = masks[row].cpu().numpy()
        if mask.any() and all(_overlap(mask, one.mask) < SAME for one in chosen):
            chosen.append(Candidate(mask=mask, score=float(scores[row])))
        if len(chosen) == MOST:
            break
    return chosen


def _overlap(mask: Any, other: Any) -> float:
    return float((mask & other).sum() / max(1, (mask | other).sum()))


def _table(masks: Tensor, scores: Tensor) -> Found:
    """The masks as numbers, for the choice of a subject."""
    areas = masks.float().mean(dim=(1, 2))
    rim = torch.cat([masks[:, 0], masks[:, :, 0], masks[:, :, -1]], dim=1)
    count, rows, columns = masks.shape
    return Found(
        scores=(scores * (areas > 0)).cpu().numpy(),
        areas=areas.cpu().numpy(),
        boxes=np.concatenate([_span(masks, 2, columns), _span(masks, 1, rows)], axis=1)[
            :, [0, 2, 1, 3]
        ],
        borders=rim.float().mean(dim=1).cpu().numpy(),
        held=np.zeros((count, 0), np.bool_),
    )


def _span(masks: Tensor, axis: int, length: int) -> Any:
    """(n, 2): from where to where each mask reaches along an axis, as shares."""
    used = masks.any(dim=3 - axis).cpu().numpy()
    first = used.argmax(axis=1)
    last = length - used[:, ::-1].argmax(axis=1)
    return np.stack([first, last], axis=1).astype(np.float32) / length

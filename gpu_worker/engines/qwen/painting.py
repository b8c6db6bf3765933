"""Passes of a pipeline: with progress at every step, and an end when nobody waits.

The pictures of all items are painted in passes of as many as fit together, each from
its own seed, so that a picture does not depend on its company. A pass ends at its next
step once nobody waits for any of its pictures.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from gpu_worker.engines import devices
from gpu_worker.engines.base import Arrays, DeviceOutcome, Hooks, Item
from gpu_worker.engines.parameters import composing
from gpu_worker.engines.parameters.edit import DEFAULT_PROMPT
from gpu_worker.engines.qwen import pipeline as pipelines
from gpu_worker.engines.qwen import prompts, schemas, settings, sizes
from gpu_worker.engines.qwen.adapters import Adapters
from gpu_worker.errors import EngineFailed, EngineUnavailable, Stopped, WorkerError
from gpu_worker.pixels import Pixels

logger = logging.getLogger("gpu_worker.engines.qwen")

MOST_SEED = 2**31
NOTHING = " "
"""The negative prompt of who names none: without any, there is no guidance."""


class Abandoned(Exception):
    """Nobody waits for the pass any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one item asks for, as the pipeline is told."""

    prompt: str
    negative: str | None
    scale: float
    steps: int
    adapters: tuple[str, ...]
    is_fast: bool
    seeds: tuple[int, ...]


@dataclass(slots=True, kw_only=True)
class Job:
    """One item on its way: its pictures as they come, or its error."""

    item: Item
    canvas: sizes.Canvas
    wish: Wish | None = None
    pictures: list[Pixels] = field(default_factory=list)
    error: WorkerError | None = None

    @property
    def steps(self) -> int:
        return len(self.wish.seeds) * self.wish.steps if self.wish else 0


Picture = tuple[Job, int]
"""One picture to paint: whose it is, and its seed."""


class Painter:
    """A loaded pipeline and its adapters. One thread at a time."""

    def __init__(self, name: settings.Name, *, say: Callable[[str], None]) -> None:
        self._name = name
        self._is_edit = name == "qwen-image-edit"
        self._tier = settings.lightning(name)
        self._pipeline = pipelines.load(name, say=say)
        self._adapters = Adapters(self._pipeline, settings.lora_sets(name), say=say)
        pipelines.settle(self._pipeline, say=say)
        self._scheduler = self._pipeline.scheduler
        self._fast_scheduler = pipelines.fast_scheduler(self._pipeline)

    def unload(self) -> None:
        del self._pipeline, self._adapters, self._scheduler, self._fast_scheduler
        pipelines.free()

    def warm_up(self, size_px: settings.Size) -> None:
        """The fewest steps at this size, with guidance as most jobs have it; where the
        model is compiled, with each of the sets of adapters."""
        told: dict[str, Any] = {"prompt": ["warm"], "negative_prompt": [NOTHING]}
        if self._is_edit:
            told = {"prompt": "warm", "negative_prompt": NOTHING}
            told["image"] = [Image.new("RGB", size_px, "gray")]
            if size_px == settings.SMALL:
                pipelines.set_reference_size(settings.SMALL[0])
        try:
            self._warm(told, size_px)
        finally:
            if self._is_edit:
                pipelines.set_reference_size(settings.reference_px())

    def _warm(self, told: dict[str, Any], size_px: settings.Size) -> None:
        each = self._adapters.names if settings.compiler() else ()
        for sets in ((), *((name,) for name in each)):
            self._adapters.activate(sets)
            self._call(
                **told,
                size_px=size_px,
                true_cfg_scale=schemas.CFG_SCALE,
                num_inference_steps=schemas.LEAST_STEPS,
                generator=None,
            )

    def paint_all(
        self, batch: Sequence[Item], canvases: Sequence[sizes.Canvas], hooks: Hooks
    ) -> list[DeviceOutcome]:
        """One outcome per item. What a batch shares is the first item's."""
        jobs = [
            Job(item=item, canvas=canvas)
            for item, canvas in zip(batch, canvases, strict=True)
        ]
        for job in jobs:
            self._prepare(job, hooks)
        waiting = [(job, seed) for job in jobs if job.wish for seed in job.wish.seeds]
        most = sizes.together(jobs[0].canvas.size_px) if not self._is_edit else 1
        while waiting:
            passed, waiting = waiting[:most], waiting[most:]
            wanted = [one for one in passed if not hooks.cancelled(one[0].item)]
            if wanted:
                self._paint(wanted, hooks)
        return [self._outcome(job, hooks) for job in jobs]

    def _prepare(self, job: Job, hooks: Hooks) -> None:
        try:
            job.wish = self._wish(job.item)
        except WorkerError as error:
            job.error = error
        else:
            hooks.progress(job.item, 0, job.steps, "reading the prompt")

    def _wish(self, item: Item) -> Wish:
        """Raises InvalidParameters for a prompt that would not be read as it is."""
        wanted = item.parameters
        task = wanted.get("task")
        is_fast = wanted.get("tier") == "fast"
        prompt = composing.composed(
            wanted, otherwise=prompts.OF_TASKS.get(task or "", DEFAULT_PROMPT)
        )
        negative = wanted.get("negative_prompt", "").strip() or NOTHING
        prompts.check(self._pipeline, prompt)
        prompts.check(self._pipeline, negative, name="negative prompt")
        named = (wanted[name] for name in schemas.SCALES if name in wanted)
        scale = 1.0 if is_fast else next(named, schemas.CFG_SCALE)
        return Wish(
            prompt=prompt,
            negative=negative if scale > 1 else None,
            scale=scale,
            steps=self._steps(wanted, is_fast=is_fast),
            adapters=self._sets(task, is_fast=is_fast),
            is_fast=is_fast,
            seeds=seeds_of(wanted),
        )

    def _steps(self, wanted: dict[str, Any], *, is_fast: bool) -> int:
        if is_fast and self._tier:
            return self._tier[1]
        steps: int = wanted.get("steps", schemas.STEPS[self._name])
        return steps

    def _sets(self, task: str | None, *, is_fast: bool) -> tuple[str, ...]:
        names = [task] if task else []
        if is_fast:
            if self._tier is None:
                raise EngineUnavailable("The adapters of the fast tier are not here.")
            names.append(self._tier[0])
        return tuple(names)

    def _paint(self, pictures: Sequence[Picture], hooks: Hooks) -> None:
        """One pass. Abandoned pictures stay away."""
        first = pictures[0][0]
        assert first.wish is not None
        self._adapters.activate(first.wish.adapters)
        self._pipeline.scheduler = (
            self._fast_scheduler if first.wish.is_fast else self._scheduler
        )
        watch = Watch(pictures, hooks)
        try:
            made = self._call(
                **self._told(pictures),
                size_px=first.canvas.size_px,
                true_cfg_scale=first.wish.scale,
                num_inference_steps=first.wish.steps,
                generator=[_generator(seed) for _, seed in pictures],
                callback_on_step_end=watch.step_ended,
            )
        except Abandoned:
            return
        for (job, _), picture in zip(pictures, made, strict=True):
            job.pictures.append(picture)

    def _told(self, pictures: Sequence[Picture]) -> dict[str, Any]:
        """Prompts and images, as the pipeline takes them: an edit's are not lists."""
        wishes = [job.wish for job, _ in pictures if job.wish]
        if self._is_edit:
            return {
                "prompt": wishes[0].prompt,
                "negative_prompt": wishes[0].negative,
                "image": _images(pictures[0][0].item),
            }
        negatives = [wish.negative for wish in wishes]
        return {
            "prompt": [wish.prompt for wish in wishes],
            "negative_prompt": None if None in negatives else negatives,
            "max_sequence_length": prompts.MOST_TOKENS,
        }

    def _call(self, *, size_px: settings.Size, **told: Any) -> list[Pixels]:
        """The pictures of a pass. Raises EngineFailed where the model gave none."""
        width, height = size_px
        pipelines.tile(self._pipeline, size_px)
        told |= {"width": width, "height": height, "output_type": "np"}
        try:
            made = self._pipeline(**told).images
        except BaseException:
            pipelines.clean_up(self._pipeline)
            raise
        if not np.isfinite(made).all():
            raise EngineFailed("The model's picture is not one of finite numbers.")
        return list((made * 255).round().astype(np.uint8))

    def _outcome(self, job: Job, hooks: Hooks) -> DeviceOutcome:
        if job.error or not job.wish:
            return job.error or Stopped()
        if len(job.pictures) < len(job.wish.seeds):
            return Stopped()
        kept = ("canvas", "given", "blend")
        arrays = {n: job.item.arrays[n] for n in kept if n in job.item.arrays}
        arrays["canvas"] = np.array(job.canvas.numbers)
        arrays["pictures"] = np.stack(job.pictures)
        details: dict[str, Any] = {
            "seeds": list(job.wish.seeds),
            "steps": job.wish.steps,
            "adapters": list(job.wish.adapters),
        }
        return Arrays(arrays=arrays, details=details)


class Watch:
    """Looks at every step of a pass: tells of it, and ends what nobody waits for."""

    def __init__(self, pictures: Sequence[Picture], hooks: Hooks) -> None:
        self._hooks = hooks
        self._jobs = {id(job): job for job, _ in pictures}
        self._counts = {id(job): 0 for job, _ in pictures}
        for job, _ in pictures:
            self._counts[id(job)] += 1
        self._last: Any = None

    def step_ended(
        self, pipeline: Any, step: int, time: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        """The pipeline's callback. Raises Abandoned."""
        self._keep_pace()
        if all(self._hooks.cancelled(job.item) for job in self._jobs.values()):
            self._abandon(step)
        for key, job in self._jobs.items():
            assert job.wish is not None
            done = len(job.pictures) * job.wish.steps
            done += self._counts[key] * (step + 1)
            self._hooks.progress(job.item, done, job.steps, "painting")
        return tensors

    def _abandon(self, step: int) -> None:
        for job in self._jobs.values():
            logger.info("job %s: abandoned at step %s", job.item.job_id, step + 1)
        raise Abandoned

    def _keep_pace(self) -> None:
        """The callback comes when a step's work is queued: wait until the step before
        it is done, so that neither progress nor a cancel runs ahead of the device."""
        if devices.device() == "cpu":
            return
        import torch

        if self._last is not None:
            self._last.synchronize()
        self._last = torch.cuda.Event()
        self._last.record()


def seeds_of(wanted: dict[str, Any]) -> tuple[int, ...]:
    """One seed for each picture: the first as it was asked for, else by chance."""
    first = wanted.get("seed")
    if first is None:
        first = secrets.randbelow(MOST_SEED)
    return tuple((first + number) % MOST_SEED for number in range(wanted.get("n", 1)))


def _generator(seed: int) -> Any:
    """On the CPU, so that the same seed gives the same noise on every device."""
    import torch

    return torch.Generator("cpu").manual_seed(seed)


def _images(item: Item) -> list[Image.Image]:
    names = [name for name in item.arrays if name.startswith("condition-")]
    ordered = sorted(names, key=lambda name: int(name.removeprefix("condition-")))
    return [Image.fromarray(item.arrays[name]) for name in ordered]

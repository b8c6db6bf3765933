"""FastSAM at full size, with random weights: the network alone, and all that the
engine does with a batch, from pixels in memory to every mask, the suppression of boxes
included.

Needs ultralytics: `pip install --no-deps ultralytics ultralytics-thop
ultralytics-platform` of the versions in pyproject.toml.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from bench.gpu import measure
from bench.gpu.measure import Memory, Report
from gpu_worker.engines.fastsam import network
from gpu_worker.engines.fastsam.network import FastSam
from gpu_worker.engines.smart_mask.asking import Asked

SIDE = 1024
BATCH = 8
TFLOP = {"x": 0.840, "s": 0.102}
"""Of one image of 1024 x 1024: convolutions, twice the multiplications."""
# So many boxes are sure enough in a photo full of things.
SURE_BOXES = 800


def run(report: Report, *, quick: bool) -> None:
    torch.backends.cudnn.benchmark = True
    for size in ("x",) if quick else ("x", "s"):
        engine = FastSam(random_layers(size), SIDE)
        lift_scores(engine, photos(2))
        for batch in (BATCH,) if quick else (1, 2, 4, BATCH, 16):
            layers_alone(report, engine, size, batch)
            whole(report, engine, size, batch)
        steps(report, engine)
        click(report, engine)
        compiled(report, engine, size)
        del engine
        torch.cuda.empty_cache()


def random_layers(size: str, device: str = "cuda", side_px: int = SIDE) -> Any:
    """The published architecture; its normalisations know what reaches them, so that
    signals neither fade nor overflow."""
    network.prepare()
    from ultralytics.nn.tasks import SegmentationModel

    torch.manual_seed(0)
    layers = SegmentationModel(f"yolov8{size}-seg.yaml", nc=1, verbose=False)
    layers = layers.to(device)
    for one in layers.modules():
        if isinstance(one, torch.nn.BatchNorm2d):
            one.momentum = 1.0
    with torch.no_grad():
        layers.train()(torch.rand(2, 3, side_px, side_px, device=device))
    for branch in layers.model[-1].cv3:
        branch[-1].weight.data *= 3
    return layers.eval()


@torch.inference_mode()
def lift_scores(engine: FastSam, images: Sequence[Any]) -> None:
    """Have as many boxes above the least score as a busy photo has."""
    batch, _ = engine._batch(images)
    scores = engine._layers(batch)[0][0][:, 4].float()
    kept = min(SURE_BOXES, scores.shape[1] // 4)
    limit = scores.topk(kept, dim=1).values[:, -1].mean()
    wanted = torch.tensor(network.LEAST_SCORE, device=scores.device)
    more = wanted.logit() - limit.logit()
    for branch in engine._layers.model[-1].cv3:
        branch[-1].bias.data += more.to(branch[-1].bias.dtype)


def photos(count: int, side_px: int = SIDE) -> list[Any]:
    """Smooth noise: uint8 (side, side, 3)."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, side_px // 8, side_px // 8, 3), np.uint8)
    return [one.repeat(8, axis=0).repeat(8, axis=1) for one in coarse]


def layers_alone(report: Report, engine: FastSam, size: str, batch: int) -> None:
    picture, _ = engine._batch(photos(batch))
    call = inference(lambda: engine._layers(picture))
    row(report, f"FastSAM-{size}, the network", call, size, batch)


def whole(report: Report, engine: FastSam, size: str, batch: int) -> None:
    """Pixels to the device, network, suppression, every mask of every image."""
    images = photos(batch)
    call = inference(lambda: [one.masks() for one in engine.look(images)])
    masks = sum(len(one) for one in call()) / batch
    name = f"FastSAM-{size}, pixels to masks"
    row(report, name, call, size, batch, masks_per_image=round(masks))


def row(
    report: Report,
    what: str,
    call: Callable[[], Any],
    size: str,
    batch: int,
    **more: Any,
) -> None:
    with Memory() as memory:
        taken = measure.seconds(call)
    share = batch * TFLOP[size] / taken / report.facts["peak_fp16_tflops"]
    report.row(
        what=what,
        batch=batch,
        ms=round(taken * 1000, 1),
        images_per_s=round(batch / taken, 1),
        share=f"{share:.1%}",
        gigabytes=round(memory.most / 1e9, 1),
        **more,
    )


def steps(report: Report, engine: FastSam) -> None:
    """Where a batch's time goes."""
    images = photos(BATCH)
    picture, _ = engine._batch(images)
    with torch.inference_mode():
        (outputs, _), *_ = engine._layers(picture)
        scenes = engine.look(images)
    parts: dict[str, Callable[[], Any]] = {
        "pixels to the device": lambda: engine._batch(images),
        "network": lambda: engine._layers(picture),
        "suppression": lambda: network.kept(outputs),
        "masks": lambda: [one.masks() for one in scenes],
    }
    for name, call in parts.items():
        taken = measure.seconds(inference(call)) * 1000
        report.say(f"batch of {BATCH}, {name}: {taken:.2f} ms")


def click(report: Report, engine: FastSam) -> None:
    """What a further click on an image that was seen costs."""
    (image,) = photos(1)
    (scene,) = engine.look([image])
    places = np.array([[0.4, 0.6, 1], [0.1, 0.1, 0]], np.float32)
    asked = Asked(rgb=image, points=places, boxes=np.zeros((0, 4), np.float32))
    taken = measure.seconds(lambda: engine.candidates(scene, asked)) * 1000
    report.row(what="a further click", batch=1, ms=round(taken, 1))
    report.say(f"kept of one image: {scene.size_bytes / 1e6:.1f} MB")


def compiled(report: Report, engine: FastSam, size: str) -> None:
    """The network with its activations fused into what comes before."""
    picture, _ = engine._batch(photos(BATCH))
    try:
        fast = torch.compile(engine._layers)
        call = inference(lambda: fast(picture))
        call()
        row(report, f"FastSAM-{size}, the network, compiled", call, size, BATCH)
    except Exception as error:  # a bench says what failed and goes on
        report.say(f"compiled: {type(error).__name__}: {str(error)[:300]}")


def inference(call: Callable[[], Any]) -> Callable[[], Any]:
    """The call as the engine makes it: nothing is kept for a gradient."""

    def without_gradients() -> Any:
        with torch.inference_mode():
            return call()

    return without_gradients

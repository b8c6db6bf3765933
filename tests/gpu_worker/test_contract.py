"""The contract of engines, kept by those that need no torch."""

from __future__ import annotations

from gpu_worker.contract import SANDBOX
from gpu_worker.engines.classical import Classical
from gpu_worker.engines.imaging.engine import Resize
from gpu_worker.engines.sandbox.engine import Generate
from gpu_worker.engines.smart_mask.classical import Classical as ClassicalMask
from gpu_worker.engines.upscaling.classical import Classical as ClassicalUpscale
from gpu_worker.testing import Case, EngineContract, picture

SMALL, WIDE = picture(1), picture(2, 90, 60)


class TestRemovebg(EngineContract):
    engine = Classical
    cases = (Case(images=(SMALL,)), Case(images=(WIDE,)))
    sizes = ((64, 48), (90, 60))
    runs = 20


class TestSmartMask(EngineContract):
    engine = ClassicalMask
    cases = (
        Case(images=(SMALL,), parameters={"points": [[30, 24]]}),
        Case(images=(WIDE,), parameters={"box": [10, 10, 80, 50]}),
    )
    sizes = ((64, 48), (90, 60))


class TestUpscale(EngineContract):
    engine = ClassicalUpscale
    cases = (
        Case(images=(SMALL,), parameters={"scale": 2}),
        Case(images=(WIDE,), parameters={"scale": 3}),
    )
    sizes = ((128, 96), (270, 180))


class TestResize(EngineContract):
    engine = Resize
    cases = (
        Case(images=(SMALL,), parameters={"width": 20, "height": 10, "fit": "fill"}),
        Case(images=(WIDE,), parameters={"width": 30}),
    )
    runs = 20


class TestSandbox(EngineContract):
    engine = Generate
    cases = tuple(
        Case(
            parameters={"prompt": prompt, "width": 256, "height": 256},
        )
        for prompt in ("a house", "a tree")
    )
    added = {SANDBOX: {}}
    seeded = True
    runs = 20

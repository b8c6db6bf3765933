"""BiRefNet at full size, with random weights: how fast, in how much memory, and how
near to the same network in plain torch and float32."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bench.gpu import measure
from bench.gpu.measure import Memory, Report
from gpu_worker.engines.birefnet import fitted, folding
from gpu_worker.engines.birefnet.graphs import Graphs
from gpu_worker.engines.birefnet.network import LARGE, TINY, BiRefNet, Shape

SIDE = 1024
TFLOP = 2.53
"""Of one image of 1024 x 1024 (Swin-L): products and convolutions of the published
network, twice the multiplications."""
BATCH = 8
Call = Callable[[Tensor], Any]


def run(report: Report, *, quick: bool) -> None:
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)
    network = random_network(LARGE)
    with torch.no_grad():
        ladder(report, network, quick=quick)
        if not quick:
            others(report)


def random_network(shape: Shape) -> BiRefNet:
    with torch.device("cuda"):
        return BiRefNet(shape).eval().requires_grad_(False)


def ladder(report: Report, network: BiRefNet, *, quick: bool) -> None:
    """One improvement after another, at a batch of eight."""
    truth = Truth(network)
    if not quick:
        half = copy.deepcopy(network).half().to(memory_format=torch.channels_last)
        line(report, "plain torch, fp16", lambda x: half(x)[-1], truth)
        del half
    fast = fitted.fit(copy.deepcopy(network), "cuda", torch.float16)
    own = any(isinstance(part, folding.Pyramid) for part in fast.modules())
    report.fact("own_kernels", own)
    line(report, "own kernels, folded", lambda x: fast(x)[-1], truth)
    profile(report, fast)
    batches: tuple[int, ...] = (BATCH,) if quick else (1, 2, 4, BATCH, 16)
    graphs(report, "own kernels, folded, graph", fast, truth, batches)
    with TanhGelu(fast):
        graphs(report, "same, GELU in the product (tanh)", fast, truth, (BATCH,))
    fitted.compile_parts(fast)
    batches = (BATCH,) if quick else (1, BATCH)  # each is compiled anew
    try:
        graphs(report, "own kernels, folded, compiled, graph", fast, truth, batches)
        profile(report, fast)
    except Exception as error:  # a bench says what failed and goes on
        report.say(f"compiled: {type(error).__name__}: {error}")


def graphs(
    report: Report,
    name: str,
    fast: BiRefNet,
    truth: Truth,
    batches: tuple[int, ...],
) -> None:
    """The same by replayed graphs, at these sizes of batch."""
    recorded = Graphs(fast)
    like = torch.empty(0, device="cuda", dtype=torch.float16)
    recorded.record(batches, SIDE, SIDE, like)
    for batch in batches:
        line(report, name, recorded, truth, batch=batch)


class Truth:
    """What plain torch in float32 makes of a picture of its own."""

    def __init__(self, network: BiRefNet) -> None:
        self.picture = torch.randn(1, 3, SIDE, SIDE, device="cuda")
        self.picture = functional.avg_pool2d(self.picture, 9, 1, 4) * 9
        self.made = network(self.picture)[-1].float().sigmoid()
        self.spread = float(self.made.std())

    def difference(self, call: Call, batch: int) -> float:
        """The greatest of an alpha, of 1."""
        many = self.picture.half().expand(batch, -1, -1, -1).contiguous()
        return float((call(many).float().sigmoid() - self.made).abs().max())


def line(
    report: Report, name: str, call: Call, truth: Truth, *, batch: int = BATCH
) -> None:
    difference = truth.difference(call, batch)
    picture = torch.randn(batch, 3, SIDE, SIDE, device="cuda", dtype=torch.float16)
    with Memory() as memory:
        taken = measure.seconds(lambda: call(picture))
    report.row(
        what=name,
        batch=batch,
        ms=round(taken * 1000, 1),
        images_per_s=round(batch / taken, 1),
        share=_share(report, batch * TFLOP / taken),
        gigabytes=round(memory.most / 1e9, 1),
        alpha_differs=f"{difference:.4f}",
    )


def _share(report: Report, tflops: float) -> str:
    """Of the measured peak."""
    return f"{tflops / report.facts['peak_fp16_tflops']:.1%}"


def others(report: Report) -> None:
    """The other published sizes."""
    for name, shape, batch, side in (
        ("lite", TINY, BATCH, SIDE),
        ("lite", TINY, 1, SIDE),
        ("HR", LARGE, 1, 2 * SIDE),
        ("HR", LARGE, 2, 2 * SIDE),
    ):
        network = fitted.fit(random_network(shape), "cuda", torch.float16)
        _other(report, f"{name}, {side} x {side}, graph", network, batch, side)
        torch.cuda.empty_cache()


def _other(report: Report, name: str, network: BiRefNet, batch: int, side: int) -> None:
    picture = torch.randn(batch, 3, side, side, device="cuda", dtype=torch.float16)
    with Memory() as memory:
        recorded = Graphs(network)
        recorded.record([batch], side, side, picture)
        taken = measure.seconds(lambda: recorded(picture))
    report.row(
        what=name,
        batch=batch,
        ms=round(taken * 1000, 1),
        images_per_s=round(batch / taken, 1),
        gigabytes=round(memory.most / 1e9, 1),
    )


def profile(report: Report, network: BiRefNet) -> None:
    """Where the device's time goes, kernel by kernel."""
    picture = torch.randn(BATCH, 3, SIDE, SIDE, device="cuda", dtype=torch.float16)
    network(picture)
    torch.cuda.synchronize()
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as seen:
        network(picture)
        torch.cuda.synchronize()
    found = sorted(seen.key_averages(), key=lambda one: -one.self_device_time_total)
    total = sum(one.self_device_time_total for one in found)
    report.say(f"kernels: {total / 1000:.1f} ms in all")
    for one in found[:28]:
        taken = one.self_device_time_total / 1000
        print(f"    {taken:8.2f} ms {one.count:5} x  {one.key[:110]}", flush=True)


class TanhGelu:
    """Meanwhile the approximation of GELU that cuBLAS computes within the product."""

    def __init__(self, network: BiRefNet) -> None:
        blocks = [block for stage in network.bb.layers for block in stage.blocks]
        self.parts = [block.mlp for block in blocks]

    def __enter__(self) -> None:
        for part in self.parts:
            part.forward = _tanh_mlp.__get__(part)

    def __exit__(self, *error: object) -> None:
        for part in self.parts:
            del part.forward


def _tanh_mlp(part: Any, x: Tensor) -> Tensor:
    wide = torch._addmm_activation(
        part.fc1.bias, x.flatten(0, -2), part.fc1.weight.T, use_gelu=True
    )
    return part.fc2(wide).view(x.shape)

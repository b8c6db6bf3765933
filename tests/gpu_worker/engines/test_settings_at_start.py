"""A setting that cannot be read stops a worker before it begins: read later, it would
be an engine that is never there."""

from __future__ import annotations

from typing import Any

import pytest

from gpu_worker.engines.birefnet.engine import Removebg as BiRefNet
from gpu_worker.engines.fastsam.engine import FastSam
from gpu_worker.engines.hosted.offered import CompatibleEdit, FalGenerate, GoogleEdit
from gpu_worker.engines.hosted.specs import ENDING_S, spec
from gpu_worker.engines.onnx_matte.engine import Removebg as Onnx
from gpu_worker.engines.qwen import settings as qwen
from gpu_worker.engines.qwen.edit import Edit
from gpu_worker.engines.qwen.generate import Generate
from gpu_worker.engines.realesrgan.engine import Upscale
from gpu_worker.settings import SettingsError


@pytest.mark.parametrize(
    ("engine", "name", "text"),
    [
        (Generate, "NIJIKA_QWEN_MEMORY", "ofload"),
        (Edit, "NIJIKA_QWEN_MEMORY", "ofload"),
        (Generate, "NIJIKA_QWEN_SIZES", "500x512"),
        (Generate, "NIJIKA_QWEN_WARM_UP", "some"),
        (Edit, "NIJIKA_QWEN_REFERENCE_PX", "1 MP"),
        (Edit, "NIJIKA_QWEN_REFERENCE_PX", "8"),
        (Edit, "NIJIKA_QWEN_REMOVAL_FIRST", "mask"),
        (BiRefNet, "NIJIKA_BIREFNET_SIZE", "1000x1000"),
        (BiRefNet, "NIJIKA_BIREFNET_COMPILE", "inductor"),
        (BiRefNet, "NIJIKA_BIREFNET_REMOTE_CODE", "/srv/weights"),
        (FastSam, "NIJIKA_FASTSAM_SIZE", "large"),
        (Upscale, "NIJIKA_UPSCALE_TILE", "big"),
        (GoogleEdit, "NIJIKA_PROVIDER_TIMEOUT", "240"),
        (CompatibleEdit, "NIJIKA_PROVIDER_POLL", "often"),
        (FalGenerate, "NIJIKA_PROVIDER_CIRCUIT_PAUSE", "10"),
        (Onnx, "NIJIKA_ONNX_SIZE", "large"),
        (Onnx, "NIJIKA_ONNX_MEAN", "0.5"),
        (Onnx, "NIJIKA_ONNX_STD", "a,b,c"),
        (Onnx, "NIJIKA_ONNX_OUTPUT", "mask"),
        (Onnx, "NIJIKA_ONNX_THREADS", "all"),
    ],
)
def test_setting_that_cannot_be_read_stops_the_start(
    engine: Any, name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIJIKA_FASTSAM_LICENSE", "AGPL-3.0")
    engine.available()
    monkeypatch.setenv(name, text)
    with pytest.raises(SettingsError, match=name):
        engine.available()


def test_compiling_needs_the_weights_to_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIJIKA_QWEN_COMPILE", "on")
    assert (qwen.compiler(), Generate.available()) == ("inductor", "weights_missing")
    monkeypatch.setenv("NIJIKA_QWEN_MEMORY", "quantised")
    with pytest.raises(SettingsError, match="NIJIKA_QWEN_COMPILE"):
        Generate.available()


def test_warm_up_on_a_cpu_is_small_unless_its_sizes_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NIJIKA_QWEN_WARM_UP", raising=False)
    assert qwen.warm_sizes("cuda:0") == ((1328, 1328),)
    assert qwen.warm_sizes("cpu") == (qwen.SMALL,)
    monkeypatch.setenv("NIJIKA_QWEN_WARM_UP", "first")
    assert qwen.warm_sizes("cpu") == ((1328, 1328),)


def test_run_at_a_provider_may_take_as_long_as_the_provider_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert spec("edit", "google").run_limit_s == 240 + ENDING_S
    monkeypatch.setenv("NIJIKA_PROVIDER_TIMEOUT", "10m")
    assert spec("edit", "google").run_limit_s == 600 + ENDING_S

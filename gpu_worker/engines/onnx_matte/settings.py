"""What an owner says of an ONNX file. Names and meanings: .env.example."""

from __future__ import annotations

import re
from pathlib import Path

from gpu_worker import settings
from gpu_worker.contract import Unavailable

SIZE = re.compile(r"([1-9]\d*)x([1-9]\d*)")
OUTPUTS = ("probabilities", "logits")
Numbers = tuple[float, ...]


def model() -> Path:
    default = settings.weights() / "onnx" / "model.onnx"
    return Path(settings.text("NIJIKA_ONNX_MODEL", "") or default)


def size() -> tuple[int, int] | None:
    """The width and height that the network is shown; None: as the file says."""
    text = settings.text("NIJIKA_ONNX_SIZE", "")
    match = SIZE.fullmatch(text)
    if text and match is None:
        raise settings.SettingsError(f"NIJIKA_ONNX_SIZE={text!r} is not WIDTHxHEIGHT")
    return (int(match[1]), int(match[2])) if match else None


def mean() -> Numbers:
    return _three("NIJIKA_ONNX_MEAN", "0.485,0.456,0.406")


def deviation() -> Numbers:
    return _three("NIJIKA_ONNX_STD", "0.229,0.224,0.225")


def gives_logits() -> bool:
    text = settings.text("NIJIKA_ONNX_OUTPUT", OUTPUTS[0])
    if text not in OUTPUTS:
        known = " or ".join(OUTPUTS)
        raise settings.SettingsError(f"NIJIKA_ONNX_OUTPUT={text!r} is not {known}")
    return text == "logits"


def threads() -> int:
    """Of one run: a slot is one core, unless its owner has more cores than slots."""
    text = settings.text("NIJIKA_ONNX_THREADS", "1")
    if not text.isdecimal() or int(text) < 1:
        raise settings.SettingsError(f"NIJIKA_ONNX_THREADS={text!r} is no number")
    return int(text)


def available() -> Unavailable:
    """Raises SettingsError for settings that cannot be read: before a worker begins."""
    size(), mean(), deviation(), gives_logits(), threads()
    return "" if model().is_file() else "weights_missing"


def _three(name: str, default: str) -> Numbers:
    text = settings.text(name, default)
    try:
        numbers = tuple(float(one) for one in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3:
        raise settings.SettingsError(f"{name}={text!r} is not three numbers")
    return numbers

"""An ONNX file as a function from a picture to opacity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from gpu_worker.engines.onnx_matte import settings
from gpu_worker.errors import EngineUnavailable
from gpu_worker.pixels import Pixels

Floats = NDArray[np.float32]
SIDE_PX = 1024
"""Where neither the file nor its owner says a size."""


class Network:
    """Read once, asked one picture at a time. Raises EngineUnavailable for a file that
    is no such network."""

    def __init__(self, path: Path) -> None:
        self._session = _opened(path)
        self._input = self._session.get_inputs()[0]
        self.size = _size(self._input.shape)
        self._mean, self._deviation = (
            np.array(numbers, np.float32)
            for numbers in (settings.mean(), settings.deviation())
        )
        self._gives_logits = settings.gives_logits()

    def alpha(self, picture: Pixels) -> Floats:
        """Opacity, 0 to 1, float32 (h, w), of an RGB picture as the network sees it."""
        # With Pillow's BILINEAR most of these networks were trained.
        shown = Image.fromarray(picture).resize(self.size, Image.Resampling.BILINEAR)
        normal = (np.asarray(shown, np.float32) / 255 - self._mean) / self._deviation
        given = np.ascontiguousarray(normal.transpose(2, 0, 1)[None])
        if "float16" in self._input.type:
            given = given.astype(np.float16)
        # Networks with several outputs give the final one first.
        made = self._session.run(None, {self._input.name: given})[0]
        found = made.reshape(-1, *made.shape[-2:])[0].astype(np.float32)
        if self._gives_logits:
            found = 1 / (1 + np.exp(-found.clip(-30, 30)))
        return np.clip(found, 0, 1)


def _opened(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # its errors have no common class
        raise EngineUnavailable(f"{path.name} is no ONNX file that runs.") from error
    shape = session.get_inputs()[0].shape
    if len(session.get_inputs()) != 1 or len(shape) != 4 or shape[1] not in (3, "3"):
        text = f"{path.name} does not take one picture: (batch, 3, height, width)."
        raise EngineUnavailable(text)
    return session


def _size(shape: list[Any]) -> tuple[int, int]:
    """(width, height): the file's own if it takes no other."""
    height, width = shape[2:]
    own = (
        (width, height) if isinstance(width, int) and isinstance(height, int) else None
    )
    chosen = settings.size()
    if own and chosen and own != chosen:
        said = f"{own[0]}x{own[1]}, not {chosen[0]}x{chosen[1]}"
        raise EngineUnavailable(f"The ONNX file takes pictures of {said}.")
    return own or chosen or (SIDE_PX, SIDE_PX)

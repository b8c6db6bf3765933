"""Makes torchvision importable beside a torch that its compiled part does not fit.

The CUDA wheel of torchvision beside a CPU torch finds none of the libraries it was
linked with; then `import torchvision` fails, and with it every model of transformers,
diffusers, timm and ultralytics. What those need of the compiled part at import and
for boxes are two operators, which are defined here in torch's own terms.

Call `ensure` before the first import of any of them. Where torchvision works by itself,
as on every machine with a GPU, it does nothing.
"""

from __future__ import annotations

import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

State = Literal["absent", "native", "shimmed"]

_lock = threading.Lock()
_state: State | None = None
_library: Any = None
"""Torch forgets the operators when this is collected."""


def ensure() -> State:
    """Have an importable torchvision, if there is one at all. Once per process."""
    global _state
    with _lock:
        if _state is None:
            _state = _prepare()
        return _state


def _prepare() -> State:
    found = find_spec("torchvision")
    if found is None or found.origin is None:
        return "absent"
    if _loads(Path(found.origin).parent):
        return "native"
    _define()
    import torchvision.extension

    # Ops with a plain torch path ask this before they call the compiled ones.
    torchvision.extension._has_ops = lambda: True
    return "shimmed"


def _loads(folder: Path) -> bool:
    """Whether the compiled operators fit this torch."""
    import torch

    compiled = next(folder.glob("_C*.so"), None)
    if compiled is None:
        return False
    try:
        torch.ops.load_library(str(compiled))
    except OSError:
        return False
    return True


def _define() -> None:
    global _library
    import torch

    arguments = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        _library.define(name + arguments)
    _library.impl("nms", suppress, "CompositeExplicitAutograd")


def suppress(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    """Non-maximum suppression: indices of the boxes to keep, the best score first.

    `boxes` is float (n, 4) as left, top, right, bottom. A box goes when it overlaps one
    that was kept by more than `iou_threshold` of their union.
    """
    import torch

    order = scores.argsort(descending=True, stable=True)
    boxes = boxes[order].float()
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    alive = torch.ones(len(order), dtype=torch.bool, device=boxes.device)
    for best in range(len(order)):
        if not alive[best]:
            continue
        rest = slice(best + 1, None)
        low = torch.maximum(boxes[best, :2], boxes[rest, :2])
        high = torch.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        union = areas[best] + areas[rest] - shared
        alive[rest] &= shared <= iou_threshold * union
    return order[alive]

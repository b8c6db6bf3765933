"""torchvision beside a torch that its compiled part does not fit."""

import pytest
import torch

from gpu_worker.engines import torchvision_shim


@pytest.fixture(autouse=True)
def state() -> str:
    return torchvision_shim.ensure()


def test_models_of_transformers_import(state: str) -> None:
    assert state in ("native", "shimmed")
    from transformers import Sam2Model
    from transformers.models.qwen2_vl import Qwen2VLProcessor

    assert Sam2Model and Qwen2VLProcessor


def test_boxes_that_overlap_a_better_one_go() -> None:
    from torchvision.ops import batched_nms, nms

    boxes = torch.tensor([[0, 0, 10, 10], [0, 1, 10, 11], [20, 0, 30, 10.0]])
    scores = torch.tensor([0.5, 0.9, 0.1])
    assert nms(boxes, scores, 0.5).tolist() == [1, 2]
    assert nms(boxes, scores, 0.9).tolist() == [1, 0, 2]
    assert batched_nms(boxes, scores, torch.tensor([0, 1, 0]), 0.5).tolist() == [
        1,
        0,
        2,
    ]


def test_no_boxes_are_no_boxes() -> None:
    from torchvision.ops import nms

    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []

"""ONNX files of a few bytes: what is red is the subject."""

from __future__ import annotations

from pathlib import Path

SIDE_PX = 64


def build(
    path: Path, *, logits: bool = False, side: int | str = SIDE_PX, channels: int = 3
) -> Path:
    """Red less green, ten times over; as probabilities or as logits."""
    import onnx
    from onnx import TensorProto, helper

    path.parent.mkdir(parents=True, exist_ok=True)
    picture, made = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, side, side])
        for name, count in (("picture", channels), ("made", 1))
    )
    weights = [10.0, -10.0, 0.0][:channels]
    weight = helper.make_tensor(
        "weight", TensorProto.FLOAT, [1, channels, 1, 1], weights
    )
    last = "made" if logits else "logits"
    nodes = [helper.make_node("Conv", ["picture", "weight"], [last])]
    if not logits:
        nodes.append(helper.make_node("Sigmoid", ["logits"], ["made"]))
    graph = helper.make_graph(nodes, "red", [picture], [made], [weight])
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    onnx.save(model, str(path))
    return path

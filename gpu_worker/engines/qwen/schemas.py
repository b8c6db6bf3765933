"""What the Qwen engines can be asked for: the operation's members, less those that the
model would ignore, and those whose files are not there."""

from __future__ import annotations

from typing import Any

from gpu_worker.engines import parameters
from gpu_worker.engines.parameters import edit, generate
from gpu_worker.engines.qwen import settings

Schema = dict[str, Any]

STEPS = {"qwen-image": 50, "qwen-image-edit": 40}
CFG_SCALE = 4.0
LEAST_STEPS = 2
"""The schedule of a single step divides by zero: the picture would be black."""
SCALES = ("true_cfg_scale", "guidance_scale")
TIER: Schema = {
    "enum": ["quality", "fast"],
    "default": "quality",
    "description": "fast: a few steps by a distilled adapter, many times sooner; it "
    "knows no steps, no negative prompt and no guidance.",
}
_FAST: Schema = {"required": ["tier"], "properties": {"tier": {"const": "fast"}}}
_NO_GUIDANCE: Schema = dict.fromkeys((*SCALES, "negative_prompt", "steps"), False)
_GUIDED: Schema = {name: {"exclusiveMinimum": 1} for name in SCALES}


def of_generate() -> Schema:
    return _schema("qwen-image", generate.PROPERTIES, generate.RULES)


def of_edit() -> Schema:
    """A task whose LoRA set is not there is no task of this engine."""
    known = settings.lora_sets("qwen-image-edit")
    tasks = [task for task in edit.CONDITIONS if task in known]
    properties = dict(edit.PROPERTIES)
    if tasks:
        properties["task"] = properties["task"] | {"enum": tasks}
    else:
        del properties["task"], properties["mask_tool"]
    return _schema("qwen-image-edit", properties, edit.RULES | _images())


def _schema(name: settings.Name, properties: Schema, rules: Schema) -> Schema:
    tier = settings.lightning(name)
    members = properties | _painting(name)
    more = [_ignored_without_guidance()]
    if tier:
        members["tier"] = TIER
        more.append({"if": _FAST, "then": {"properties": _NO_GUIDANCE}})
    return parameters.schema(members, rules | {"allOf": [*rules["allOf"], *more]})


def _painting(name: settings.Name) -> Schema:
    """Without defaults: what the platform fills in cannot be told from what was
    asked, and the fast tier has others."""
    plain = generate.PAINTING
    steps = plain["steps"]
    scale = {n: v for n, v in plain["true_cfg_scale"].items() if n != "default"}
    return {
        "steps": steps
        | {
            "minimum": LEAST_STEPS,
            "description": f"{steps['description'].rstrip('.')}; {STEPS[name]} where "
            "nothing is said.",
        },
        "true_cfg_scale": scale
        | {
            "description": f"{scale['description'].rstrip('.')}; "
            f"{CFG_SCALE} where nothing is said. At 1 and below there is none, and "
            "a step takes half the time."
        },
    }


def _ignored_without_guidance() -> Schema:
    """A negative prompt is read only where there is guidance."""
    return {"if": {"required": ["negative_prompt"]}, "then": {"properties": _GUIDED}}


def _images() -> Schema:
    """What is not looked at does not come along."""
    rules = edit.RULES["x-images"]
    task = {"required": ["task"], "properties": {"task": {"const": "white-balance"}}}
    unused = dict.fromkeys(("mask", "reference", "reference_mask"), False)
    removal = {"required": ["task"], "properties": {"task": {"const": "removal"}}}
    more = [
        {"if": task, "then": {"properties": unused}},
        {
            "if": removal,
            "then": {"properties": {"reference": False, "reference_mask": False}},
        },
    ]
    return {"x-images": rules | {"allOf": [*rules["allOf"], *more]}}

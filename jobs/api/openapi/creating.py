"""What creates a job: the parameters come from the engines that workers announced."""

from __future__ import annotations

from gpu_worker.contract import EngineSpec
from jobs import engines
from jobs.api.openapi.schema import TEXT, WEBHOOK_URL, Schema, object_of, ref
from jobs.api.parsing import JSON_FIELDS, METADATA_KEYS
from jobs.requests.orders import MOST_STEPS

IMAGE: Schema = {
    "type": "string",
    "pattern": "^(https?://|data:|job:|upload:)",
    "description": "A URL, a data URL in base64, job:ID, job:ID/input or upload:ID.",
}


def job_body(*, has_images: bool = True) -> Schema:
    """`has_images`: those that the operation cannot do without must be there."""
    content = {
        "application/json": {"schema": job_of(form=False, has_images=has_images)},
        "multipart/form-data": {
            "schema": job_of(form=True, has_images=has_images),
            "encoding": {
                name: {"contentType": "application/json"} for name in JSON_FIELDS
            },
        },
    }
    return {"required": True, "content": content}


def job_of(*, form: bool, has_images: bool = True) -> Schema:
    """What creates a job: one shape per operation, for their parameters differ."""
    shapes = [
        _create(operation, form=form, has_images=has_images)
        for operation in engines.offered()
        if operation.engines
    ]
    return {"oneOf": shapes} if shapes else object_of(operation=TEXT)


def _create(operation: engines.Operation, *, form: bool, has_images: bool) -> Schema:
    spec = operation.engines[0]
    file: Schema = {"type": "string", "format": "binary"} if form else IMAGE
    several: Schema = {"type": "array", "items": file, "maxItems": spec.images[1]}
    properties: Schema = {
        "operation": {"const": operation.name},
        "engine": {"enum": [one.engine for one in operation.engines]},
        "parameters": _parameters(spec.parameters),
        "metadata": {
            "type": "object",
            "maxProperties": METADATA_KEYS,
            "description": "Given back unchanged. With a test key a text as `sandbox` "
            "asks for delays and errors: `delay:5 fail:engine_failed`.",
        },
        "webhook_url": WEBHOOK_URL
        | {"description": "Is told of the job's end by a signed POST."},
    }
    if followers():
        properties["then"] = ref("Then")
    if spec.images[1]:
        properties["image"] = file if spec.images[1] == 1 else several
    properties |= dict.fromkeys(spec.roles, file)
    required = ["operation"]
    if has_images:
        required += [*(["image"] if spec.images[0] else []), *spec.needs]
    required += _required(_parameters(spec.parameters))
    return {
        "title": operation.name,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def followers() -> list[EngineSpec]:
    """What may follow an operation."""
    specs = [operation.engines[0] for operation in engines.offered()]
    return [spec for spec in specs if spec.is_step]


def steps() -> dict[str, Schema]:
    """`Then`, once there is something to follow, and each kind of step by a name of its
    own: programs that write clients from the document lose shapes without one."""
    kinds = {_name_of(spec): _follower(spec) for spec in followers()}
    then: Schema = {
        "type": "array",
        "minItems": 1,
        "maxItems": MOST_STEPS,
        "items": {"oneOf": [ref(name) for name in kinds]},
        "description": "Steps on what the operation made, in this order and in the "
        "same run. The price is the sum of all; the last one says how the result is "
        "written.",
    }
    return kinds | ({"Then": then} if kinds else {})


def _name_of(spec: EngineSpec) -> str:
    return "".join(word.capitalize() for word in spec.operation.split("-")) + "Step"


def _follower(spec: EngineSpec) -> Schema:
    parameters = _parameters(spec.parameters)
    return {
        "title": spec.operation,
        "type": "object",
        "properties": {
            "operation": {"const": spec.operation},
            "parameters": parameters,
        },
        "required": ["operation", *_required(parameters)],
        "additionalProperties": False,
    }


def _required(parameters: Schema) -> list[str]:
    return ["parameters"] if parameters.get("required") else []


def _parameters(schema: Schema) -> Schema:
    """The engine's schema without what belongs to a whole document."""
    return {k: v for k, v in schema.items() if k not in {"$schema", "$id"}}

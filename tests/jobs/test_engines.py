"""What workers announce, what a key may choose, and what parameters are taken."""

import contextlib
import socket
import threading
import time
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from gpu_worker.contract import EngineSpec
from gpu_worker.engines.classical import Classical
from gpu_worker.engines.imaging.engine import spec_of
from gpu_worker.engines.parameters import smart_mask
from jobs import engines
from jobs.errors import BadFields, EngineUnavailable
from jobs.models import Engine

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["width"],
    "properties": {
        "width": {"type": "integer", "minimum": 1, "maximum": 100},
        "scale": {"type": "number", "default": 1.5},
        "format": {"enum": ["png", "webp"], "default": "png"},
        "crop": {"type": "boolean"},
        "name": {"type": "string", "maxLength": 3, "pattern": "^[a-z]*$"},
        "points": {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
        "margin": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"top": {"type": "integer", "default": 7}},
        },
    },
}


REAL = {
    **{name: spec_of(name).parameters for name in ("encode", "crop", "resize")},
    "removebg": Classical.spec.parameters,
    "smart-mask": smart_mask.schema(),
}


def make_spec(**values: Any) -> EngineSpec:
    known = {"operation": "removebg", "engine": "classical", "queue": "cpu"}
    return EngineSpec(**{**known, "parameters": SCHEMA, **values})


@pytest.fixture(autouse=True)
def _fresh(settings: Settings, db: None) -> None:
    engines.forget()
    settings.DEFAULT_ENGINES = {"removebg": "classical", "resize": "imaging"}
    settings.CHOOSABLE_ENGINES = ["removebg/birefnet", "removebg/sandbox"]


def errors_of(parameters: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(BadFields) as refused:
        engines.validate_parameters(make_spec(), parameters)
    return [(one["field"], one["code"]) for one in refused.value.errors]


def refused_field(*arguments: Any, **options: Any) -> str:
    with pytest.raises(BadFields) as refused:
        engines.resolve(*arguments, **options)
    return str(refused.value.errors[0]["field"])


def test_resolve_gives_the_default_engine_as_it_was_announced() -> None:
    engines.announce([make_spec()])
    assert engines.resolve("removebg", test=False) == make_spec()
    assert engines.resolve("removebg", "classical", test=False) == make_spec()


def test_announce_keeps_the_newest_spec_once() -> None:
    engines.announce([make_spec()])
    engines.announce([make_spec(batch_size=4), make_spec(engine="birefnet")])
    assert engines.resolve("removebg", test=False).batch_size == 4
    assert Engine.objects.count() == 2


def test_announce_of_the_same_spec_writes_nothing() -> None:
    engines.announce([make_spec()])
    before = Engine.objects.get().announced_at
    engines.announce([make_spec()])
    assert Engine.objects.get().announced_at == before


def test_announce_passes_over_a_spec_without_a_schema() -> None:
    broken = [{"type": 5}, {"x-images": {"type": 5}}, {"x-images": 5}]
    specs = [make_spec(parameters=one) for one in broken]
    engines.announce([*specs, make_spec(operation="resize")])
    assert [row.operation for row in Engine.objects.all()] == ["resize"]


def test_resolve_of_an_unknown_operation_names_the_field() -> None:
    assert refused_field("fly", test=False) == "operation"
    assert refused_field("fly", test=True) == "operation"


def test_resolve_of_what_nobody_announced_is_unavailable() -> None:
    with pytest.raises(EngineUnavailable) as refused:
        engines.resolve("resize", test=False)
    assert refused.value.status == 503 and refused.value.headers["Retry-After"]


@pytest.mark.parametrize("name", ["imaging", "sandbox", "", "classical "])
def test_resolve_of_an_engine_not_to_be_chosen_names_the_field(name: str) -> None:
    engines.announce([make_spec(), make_spec(engine="sandbox")])
    assert refused_field("removebg", name, test=False) == "engine"


def test_resolve_lets_a_client_choose_what_the_settings_list() -> None:
    engines.announce([make_spec(engine="birefnet", queue="t4")])
    assert engines.resolve("removebg", "birefnet", test=False).queue == "t4"


def test_resolve_for_a_test_key_is_the_sandbox_or_nothing() -> None:
    engines.announce([make_spec()])
    with pytest.raises(EngineUnavailable):
        engines.resolve("removebg", test=True)
    engines.announce([make_spec(engine="sandbox")])
    assert engines.resolve("removebg", "classical", test=True).engine == "sandbox"


def test_offered_lists_known_engines_of_offered_operations() -> None:
    engines.announce(
        [make_spec(), make_spec(engine="sandbox"), make_spec(operation="unlisted")]
    )
    engines.announce([make_spec(engine="birefnet")])
    (operation,) = engines.offered()
    assert operation.name == "removebg"
    assert [spec.engine for spec in operation.engines] == ["classical", "birefnet"]


def test_parameters_get_their_defaults_also_inside() -> None:
    given = {"width": 5, "margin": {}}
    taken = engines.validate_parameters(make_spec(), given)
    assert taken == {"width": 5, "scale": 1.5, "format": "png", "margin": {"top": 7}}
    assert given == {"width": 5, "margin": {}}


@pytest.mark.parametrize(
    ("parameters", "field", "code"),
    [
        ({}, "width", "required"),
        ({"width": "8"}, "width", "type"),
        ({"width": 8.0}, "width", "type"),
        ({"width": True}, "width", "type"),
        ({"width": None}, "width", "type"),
        ({"width": 0}, "width", "range"),
        ({"width": 101}, "width", "range"),
        ({"width": 1, "scale": "1"}, "scale", "type"),
        ({"width": 1, "scale": False}, "scale", "type"),
        ({"width": 1, "format": "gif"}, "format", "choice"),
        ({"width": 1, "format": 1}, "format", "choice"),
        ({"width": 1, "crop": 1}, "crop", "type"),
        ({"width": 1, "crop": "true"}, "crop", "type"),
        ({"width": 1, "name": "abcd"}, "name", "length"),
        ({"width": 1, "name": "A"}, "name", "format"),
        ({"width": 1, "points": [1, 2.0]}, "points.1", "type"),
        ({"width": 1, "points": [1, 2, 3]}, "points", "length"),
        ({"width": 1, "margin": {"top": "1"}}, "margin.top", "type"),
        ({"width": 1, "margin": {"left": 1}}, "margin.left", "unknown"),
        ({"width": 1, "Width": 1}, "Width", "unknown"),
    ],
)
def test_parameters_that_are_wrong_are_named(
    parameters: dict[str, Any], field: str, code: str
) -> None:
    assert errors_of(parameters) == [(f"parameters.{field}", code)]


def test_parameters_with_several_mistakes_name_all() -> None:
    assert sorted(errors_of({"a": 1, "b": 2, "crop": 3})) == [
        ("parameters.a", "unknown"),
        ("parameters.b", "unknown"),
        ("parameters.crop", "type"),
        ("parameters.width", "required"),
    ]


def test_errors_never_repeat_the_value() -> None:
    with pytest.raises(BadFields) as refused:
        engines.validate_parameters(make_spec(), {"width": "secret"})
    assert "secret" not in str(refused.value.errors)


def test_schema_that_refers_elsewhere_fetches_nothing() -> None:
    calls: list[object] = []

    def hang_up() -> None:
        with contextlib.suppress(TimeoutError):
            connection, address = elsewhere.accept()
            calls.append(address)
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.3)
        listening = threading.Thread(target=hang_up)
        listening.start()
        remote = {"$ref": f"http://127.0.0.1:{elsewhere.getsockname()[1]}/schema"}
        spec = make_spec(parameters={"type": "object", "properties": {"a": remote}})
        with pytest.raises(Exception, match="Unresolvable"):
            engines.validate_parameters(spec, {"a": 1})
        listening.join()
    assert calls == []


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("width", "8", 8),
        ("width", "08", "08"),
        ("width", "8.0", "8.0"),
        ("width", "٣", "٣"),
        ("width", " 8", " 8"),
        ("scale", "8", 8),
        ("scale", "-1.5e2", -150.0),
        ("scale", "NaN", "NaN"),
        ("crop", "true", True),
        ("crop", "True", "True"),
        ("format", "png", "png"),
        ("name", "8", "8"),
        ("points", "[1, 2]", [1, 2]),
        ("points", "[1,", "[1,"),
        ("margin", '{"top": 1}', {"top": 1}),
        ("margin", '{"top": 1, "top": 2}', '{"top": 1, "top": 2}'),
        ("unknown", "1", "1"),
    ],
)
def test_form_text_is_read_by_the_parameters_type(
    name: str, text: str, value: Any
) -> None:
    read = engines.read_parameter(make_spec(), name, text)
    assert read == value and type(read) is type(value)


TOGETHER: dict[str, Any] = {
    "type": "object",
    "properties": {"width": {}, "height": {}, "format": {}, "quality": {}},
    "anyOf": [{"required": ["width"]}, {"required": ["height"]}],
    "dependentRequired": {"quality": ["format"]},
    "if": {"required": ["format"], "properties": {"format": {"const": "png"}}},
    "then": {"properties": {"quality": False}},
}


@pytest.mark.parametrize(
    ("parameters", "field", "code"),
    [
        ({}, "parameters", "required"),
        ({"width": 1, "quality": 1}, "parameters.format", "required"),
        (
            {"width": 1, "quality": 1, "format": "png"},
            "parameters.quality",
            "unknown",
        ),
    ],
)
def test_parameters_that_do_not_go_together_are_named(
    parameters: dict[str, Any], field: str, code: str
) -> None:
    with pytest.raises(BadFields) as refused:
        engines.validate_parameters(make_spec(parameters=TOGETHER), parameters)
    (error,) = refused.value.errors
    assert (error["field"], error["code"]) == (field, code)


@pytest.mark.parametrize(
    ("operation", "parameters", "text"),
    [
        ("encode", {"quality": 80}, "format is needed beside quality"),
        (
            "encode",
            {"format": "webp", "lossless": True, "quality": 80},
            "quality does not go with the other parameters",
        ),
        ("crop", {}, "must have at least one of width, height, x, y, trim"),
        ("resize", {"width": 1, "background": "red"}, "must be like #fff or #81d4fa"),
        ("removebg", {"roi": "0 0 1 1"}, "must be x1 y1 x2 y2, each like 100px or 10%"),
        ("removebg", {"bg_color": "zz"}, "or a colour's CSS name"),
        ("smart-mask", {"box": [1, 2, 3]}, "box must have exactly 4 items"),
    ],
)
def test_refusal_says_what_to_write_and_shows_no_pattern(
    operation: str, parameters: dict[str, Any], text: str
) -> None:
    spec = make_spec(parameters=REAL[operation])
    with pytest.raises(BadFields) as refused:
        engines.validate_parameters(spec, parameters)
    assert str(refused.value).endswith(text)


def test_engine_that_another_process_announced_is_soon_found() -> None:
    with pytest.raises(EngineUnavailable):
        engines.resolve("removebg", test=False)
    engines.announce([make_spec()])
    engines._table._fresh_until = time.monotonic() + engines.FRESH_S - 0.1
    assert engines.resolve("removebg", test=False) == make_spec()


def test_default_that_does_not_go_with_the_rest_is_left_out() -> None:
    schema = TOGETHER | {
        "properties": TOGETHER["properties"]
        | {"quality": {"default": 85}, "fit": {"default": "cover"}}
    }
    spec = make_spec(parameters=schema)

    def taken(parameters: dict[str, Any]) -> dict[str, Any]:
        return engines.validate_parameters(spec, parameters)

    assert taken({"width": 1}) == {"width": 1, "fit": "cover"}
    jpeg = {"width": 1, "format": "jpeg"}
    assert taken(jpeg) == jpeg | {"fit": "cover", "quality": 85}


def test_what_was_right_once_is_not_mixed_up_with_what_looks_alike() -> None:
    engines.announce([make_spec()])
    spec = engines.resolve("removebg", test=False)
    first = engines.validate_parameters(spec, {"width": 1})
    first["margin"] = "changed by its owner"
    again = engines.validate_parameters(spec, {"width": 1})
    assert again == {"width": 1, "scale": 1.5, "format": "png"}
    for alike in (1.0, True):
        with pytest.raises(BadFields):
            engines.validate_parameters(spec, {"width": alike})

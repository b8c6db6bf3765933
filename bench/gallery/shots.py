"""What the gallery shows: one job each, on the photos that lie in the repository."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ROOT / "tests" / "data" / "photos"
FORMATS = ROOT / "tests" / "data" / "formats"
MORE_PHOTOS = ROOT.parent / "shared" / "data" / "photos"
"""More photos, where somebody has laid them beside the checkout."""

LEMUR = ROOT / "nijika" / "local" / "photos" / "lemur.jpg"
TIGER = PHOTOS / "animal_white_tiger.jpg"
TIGER_MASK = PHOTOS / "animal_white_tiger.alpha.png"
CAR = PHOTOS / "car_concept_with_person.jpg"
CAR_MASK = PHOTOS / "car_concept_with_person.alpha.png"
PERSON = PHOTOS / "person_arms_raised.jpg"
PERSON_MASK = PHOTOS / "person_arms_raised.alpha.png"
ROOM = PHOTOS / "interior_bedroom.jpg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One job: its title, what it is asked, and its files by role."""

    title: str
    operation: str
    parameters: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    then: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    test: bool = False


def shots() -> list[Shot]:
    """All of them, in the order of the page."""
    return [
        *_cut_outs(),
        *_removebg_options(),
        *_smart_masks(),
        *_sizes(),
        *_formats(),
        *_utilities(),
        *_pipelines(),
        *_sandbox(),
    ]


def _cut_outs() -> list[Shot]:
    own = [LEMUR, TIGER, CAR, PERSON, ROOM]
    known = {path.stem for path in own} | {"animal_lemur_fur"}
    more = [p for p in sorted(MORE_PHOTOS.glob("*.*")) if p.stem not in known]
    return [
        Shot(title=f"cut out: {path.stem}", operation="removebg", files={"image": path})
        for path in [*own, *more]
    ]


def _removebg_options() -> list[Shot]:
    wanted: list[tuple[str, Path, dict[str, Any]]] = [
        ("on white, as a jpg", LEMUR, {"format": "jpg", "bg_color": "white"}),
        ("on magenta", LEMUR, {"bg_color": "ff00ff"}),
        ("on black", PERSON, {"bg_color": "#000"}),
        ("half transparent green", TIGER, {"bg_color": "00800080"}),
        ("opacity alone", LEMUR, {"channels": "alpha"}),
        ("cropped, 10 % margin", TIGER, {"crop": True, "crop_margin": "10%"}),
        ("half as large, lower left", TIGER, {"scale": "50%", "position": "0% 100%"}),
        ("only the left half looked at", PERSON, {"roi": "0% 0% 50% 100%"}),
        ("with a shadow", CAR, {"add_shadow": True, "bg_color": "f4f4f4"}),
        ("preview size, webp", TIGER, {"size": "preview", "format": "webp"}),
    ]  # fmt: skip
    return [
        Shot(
            title=f"removebg: {title}",
            operation="removebg",
            parameters=parameters,
            files={"image": photo},
        )
        for title, photo, parameters in wanted
    ] + [
        Shot(
            title="removebg: in front of another image",
            operation="removebg",
            files={"image": PERSON, "bg_image": ROOM},
        )
    ]


def _smart_masks() -> list[Shot]:
    wanted: list[tuple[str, Path, dict[str, Any]]] = [
        ("one click", TIGER, {"points": [[378, 410]]}),
        ("a box", CAR, {"box": [33, 160, 382, 289]}),
        ("yes and no", CAR, {"points": [[131, 235], [420, 200]], "labels": [1, 0]}),
        ("by itself", LEMUR, {"auto": True}),
        ("grown by 10", PERSON, {"points": [[233, 268]], "border_adjustment": 10}),
        ("blurred", PERSON, {"points": [[233, 268]], "blur": True}),
    ]  # fmt: skip
    return [
        Shot(
            title=f"smart mask: {title}",
            operation="smart-mask",
            parameters=parameters,
            files={"image": photo},
        )
        for title, photo, parameters in wanted
    ] + [
        Shot(
            title="smart mask: guided by a mask",
            operation="smart-mask",
            files={"image": TIGER, "mask": TIGER_MASK},
        )
    ]


def _sizes() -> list[Shot]:
    box: dict[str, Any] = {"width": 300, "height": 300}
    resizes: list[tuple[str, dict[str, Any]]] = [
        (fit, box | {"fit": fit})
        for fit in ("cover", "contain", "fill", "inside", "outside")
    ]
    resizes += [
        ("cover, from the east", box | {"gravity": "east"}),
        ("twice the pixels (dpr 2)", {"width": 200, "dpr": 2}),
        ("enlarged", {"width": 1600, "enlarge": True}),
        ("grey and blurred", box | {"greyscale": True, "blur": 3}),
        ("sharpened", {"width": 400, "sharpen": 1}),
    ]
    crops: list[tuple[str, dict[str, Any]]] = [
        ("in pixels", {"x": 300, "y": 150, "width": 400, "height": 300}),
        ("in fractions", {"unit": "fraction", "width": 0.5, "height": 0.5}),
        ("around a point", box | {"focus_x": 0.2, "focus_y": 0.5}),
        ("south-east", box | {"gravity": "south-east"}),
    ]
    return _all("resize", TIGER, resizes) + _all("crop", TIGER, crops)


def _formats() -> list[Shot]:
    encodes: list[tuple[str, dict[str, Any]]] = [
        ("jpg, quality 30", {"format": "jpg", "quality": 30}),
        ("progressive jpg", {"format": "jpg", "progressive": True}),
        ("webp", {"format": "webp"}),
        ("lossless webp", {"format": "webp", "lossless": True}),
        ("avif", {"format": "avif"}),
        ("gif", {"format": "gif"}),
        ("jpg within 20 kB", {"format": "jpg", "max_bytes": 20_000}),
    ]
    broken = ("truncated", "broken", "bomb")
    formats = [
        path
        for path in sorted(FORMATS.iterdir())
        if not any(word in path.name for word in broken)
    ]
    return _all("encode", LEMUR, encodes) + [
        Shot(
            title=f"format: {path.name}",
            operation="resize",
            parameters={"width": 240, "fit": "inside"},
            files={"image": path},
        )
        for path in formats
    ]


def _utilities() -> list[Shot]:
    masked = {"image": TIGER, "mask": TIGER_MASK}
    return [
        Shot(title="extract: transparent", operation="extract", files=masked),
        Shot(
            title="extract: on a white square",
            operation="extract",
            parameters={"mode": "square"},
            files={"image": CAR, "mask": CAR_MASK},
        ),
        Shot(
            title="inpaint: the car taken away",
            operation="inpaint",
            parameters={"mask_type": "brush", "dilation": 15},
            files={"image": CAR, "mask": CAR_MASK},
        ),
        Shot(title="canny: automatic", operation="canny", files={"image": ROOM}),
        Shot(
            title="canny: fixed thresholds",
            operation="canny",
            parameters={"mode": "fixed", "low": 100, "high": 200},
            files={"image": ROOM},
        ),
        Shot(
            title="shadow preview",
            operation="shadow",
            parameters={"backdrop": "#f5f5f5"},
            files={"image": PERSON, "mask": PERSON_MASK},
        ),
        Shot(
            title="white balance: automatic",
            operation="white-balance",
            files={"image": ROOM},
        ),
        Shot(
            title="white balance: warmer",
            operation="white-balance",
            parameters={"mode": "manual", "temperature": 40},
            files={"image": ROOM},
        ),
        Shot(
            title="white balance: colder, greener",
            operation="white-balance",
            parameters={"mode": "manual", "temperature": -40, "tint": -30},
            files={"image": ROOM},
        ),
        Shot(title="upscale: 4 times", operation="upscale", files={"image": CAR}),
    ]


def _pipelines() -> list[Shot]:
    crop = {"operation": "crop", "parameters": {"trim": True}}
    webp = {"operation": "encode", "parameters": {"format": "webp"}}
    gradient = {"colors": ["#ffe0b2", "#6d4c41"]}
    return [
        Shot(
            title="pipeline: cut out → crop → shadow → webp",
            operation="removebg",
            files={"image": TIGER},
            then=[crop, {"operation": "shadow", "parameters": {}}, webp],
        ),
        Shot(
            title="pipeline: cut out → on a gradient → 400 px",
            operation="removebg",
            files={"image": PERSON},
            then=[
                {"operation": "compose", "parameters": {"gradient": gradient}},
                {"operation": "resize", "parameters": {"width": 400}},
            ],
        ),
    ]


def _sandbox() -> list[Shot]:
    prompt = {"prompt": "a lighthouse in a storm, oil on canvas"}
    return [
        Shot(
            title="sandbox: generate",
            operation="generate",
            parameters=prompt,
            test=True,
        ),
        Shot(
            title="sandbox: edit",
            operation="edit",
            parameters={"prompt": "furnish the room"},
            files={"image": ROOM},
            test=True,
        ),
        Shot(
            title="sandbox: removebg",
            operation="removebg",
            files={"image": LEMUR},
            test=True,
        ),
    ]


def _all(
    operation: str, photo: Path, wanted: list[tuple[str, dict[str, Any]]]
) -> list[Shot]:
    return [
        Shot(
            title=f"{operation}: {title}",
            operation=operation,
            parameters=parameters,
            files={"image": photo},
        )
        for title, parameters in wanted
    ]

"""The test images, and how an engine is run on them in this process."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

from gpu_worker import finishing, pixels
from gpu_worker.engines.base import Engine, Input, Item, Result
from gpu_worker.pixels import Pixels
from nijika.local import demo

DATA = Path(__file__).parents[2] / "data"
FORMATS = DATA / "formats"
PHOTOS = DATA / "photos"
LEMUR = demo.PHOTO


class Silent:
    """Hooks that nobody hears; `seen` keeps the progress."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def progress(self, item: Item, step: int, total: int, message: str = "") -> None:
        self.seen.append(message)

    def cancelled(self, item: Item) -> bool:
        return False

    def checkpoint(self, item: Item, text: str) -> None: ...


def item(path: Path, content_type: str = "", **parameters: Any) -> Item:
    source = Input(role="image", path=path, content_type=content_type)
    return Item(job_id="job", parameters=parameters, inputs=(source,))


def run(engine: Engine, path: Path, content_type: str = "", **wanted: Any) -> Result:
    """The one result of one item, its parameters held against the schema first."""
    jsonschema.validate(wanted, engine.spec.parameters)
    one = replace(item(path, content_type, **wanted), operation=engine.spec.operation)
    outcome = engine.run([one], Silent())[0]
    assert isinstance(outcome, tuple)
    (result,) = finishing.finish(one, outcome, Silent())
    return result


def refuses(engine: type[Engine], **wanted: Any) -> bool:
    """Whether the engine's schema refuses these parameters."""
    schema = engine.spec.parameters
    return not jsonschema.Draft202012Validator(schema).is_valid(wanted)


def seen(result: Result) -> Pixels:
    """What a result shows."""
    return pixels.decode(result.data)


def save(folder: Path, picture: Pixels, kind: pixels.Format = "png") -> Path:
    path = folder / f"picture.{kind}"
    path.write_bytes(pixels.encode(picture, kind).data)
    return path


def plain(height: int, width: int, colour: tuple[int, ...] = (200, 30, 30)) -> Pixels:
    return np.full((height, width, len(colour)), colour, np.uint8)

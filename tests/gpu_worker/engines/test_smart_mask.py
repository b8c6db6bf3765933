"""smart-mask/classical: masks of what was pointed at, and refusals that say why."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from gpu_worker import finishing, pixels
from gpu_worker.contract import Step
from gpu_worker.engines.base import Input, Item
from gpu_worker.engines.parameters import smart_mask as parameters
from gpu_worker.engines.smart_mask import source
from gpu_worker.engines.smart_mask.classical import Classical
from gpu_worker.errors import InvalidImage, InvalidParameters
from tests.gpu_worker.engines.pictures import (
    FORMATS,
    LEMUR,
    PHOTOS,
    Silent,
    plain,
    refuses,
    save,
)

CAR = PHOTOS / "car_concept_with_person.jpg"
TIGER = PHOTOS / "animal_white_tiger.jpg"
PERSON = PHOTOS / "person_arms_raised.jpg"
BEDROOM = PHOTOS / "interior_bedroom.jpg"

# (photo, accepted alpha, point, box, least overlap by the point, least by the box):
# what is reached today less two hundredths.
PROMPTS = [
    (LEMUR, "animal_lemur_fur", [339, 275], [156, 63, 530, 440], 0.8, 0.9),
]


@pytest.fixture(scope="module")
def engine():
    made = Classical()
    made.load()
    return made


@pytest.fixture
def disc(tmp_path):
    """A red disc of radius 60 around (200, 150) on green, 400 x 300."""
    picture = plain(300, 400, (40, 120, 60))
    cv2.circle(picture, (200, 150), 60, (210, 40, 30), -1)
    return save(tmp_path, picture)


def ask(engine, path, *, mask=None, steps=(), **wanted):
    """The Result of a job; parameters are held against the schema first."""
    assert not refuses(engine, **wanted)
    inputs = [Input(role="image", path=path)]
    if mask is not None:
        inputs.append(Input(role="mask", path=mask))
    item = Item(
        job_id="job",
        operation="smart-mask",
        parameters={"format": "png"} | wanted,
        inputs=tuple(inputs),
        steps=steps,
    )
    (outcome,) = engine.run([item], Silent())
    (result,) = finishing.finish(item, outcome, Silent())
    return result


def grey(result):
    """The mask as it is stored: it must be grey."""
    found = cv2.imdecode(np.frombuffer(result.data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert (found.ndim, found.dtype) == (2, np.uint8)
    return found


def overlap(a, b):
    a, b = a > 127, b > 127
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize(("photo", "name", "point", "box", "by_point", "by_box"), PROMPTS)
def test_an_object_is_found_by_a_point_and_by_a_box(
    engine, photo, name, point, box, by_point, by_box
):
    truth = pixels.decode(PHOTOS / f"{name}.alpha.png")[..., 0]
    assert overlap(grey(ask(engine, photo, points=[point])), truth) >= by_point
    assert overlap(grey(ask(engine, photo, box=box)), truth) >= by_box

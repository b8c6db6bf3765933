"""smart-mask/classical: masks of what was pointed at, and refusals that say why.

The least overlaps are what the engine reaches today less two hundredths or so: a fall
is a regression, a rise is a reason to raise them.
"""

import cv2
import numpy as np
import pytest
from PIL import Image

from gpu_worker import finishing, pixels
from gpu_worker.contract import Step
from gpu_worker.engines.base import Input, Item
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

TIGER = PHOTOS / "animal_white_tiger.jpg"
PERSON = PHOTOS / "person_arms_raised.jpg"
CAR = PHOTOS / "car_concept_with_person.jpg"

# (photo, accepted alpha, point, box, least overlap by the point, least by the box)
PROMPTS = [
    (LEMUR, "animal_lemur_fur", [339, 275], [156, 63, 530, 440], 0.96, 0.96),
    (TIGER, "animal_white_tiger", [378, 410], [68, 196, 916, 573], 0.84, 0.88),
    (PERSON, "person_arms_raised", [233, 268], [87, 45, 396, 399], 0.80, 0.93),
    (CAR, "car_concept_with_person", [131, 235], [33, 160, 382, 289], 0.81, 0.81),
]
GREEN, RED, BLUE = (40, 120, 60), (210, 40, 30), (40, 60, 200)

# What does not go with a picture of 400 x 300, and a word of what is said about it.
WRONG = [
    ({"points": [[400, 10]]}, "outside the image"),
    ({"points": [[10, 300]]}, "outside the image"),
    ({"points": [[10, 10], [20, 20]], "labels": [1]}, "labels"),
    ({"points": [[10, 10]], "labels": [0]}, "on the object"),
    ({"box": [100, 50, 40, 90]}, "x_min"),
    ({"box": [100, 50, 100, 90]}, "x_min"),
    ({"box": [500, 50, 600, 90]}, "nothing of the image"),
    ({"boxes": [[10, 10, 90, 90], [20, 310, 90, 390]]}, "nothing of the image"),
    ({"box": [10, 10, 90, 90], "points": [[200, 150]]}, "outside the box"),
    ({"auto": False}, "auto"),
]


@pytest.fixture(scope="module")
def engine():
    made = Classical()
    made.load()
    return made


@pytest.fixture
def disc(tmp_path):
    """A red disc of radius 60 around (200, 150) on green, 400 x 300."""
    return save(tmp_path, discs((200, 150)))


@pytest.fixture
def pair(tmp_path):
    """Two red discs that touch, around (140, 150) and (260, 150)."""
    return save(tmp_path, discs((140, 150), (260, 150)))


def discs(*middles, colour=RED):
    picture = plain(300, 400, GREEN)
    for middle in middles:
        cv2.circle(picture, middle, 60, colour, -1)
    return picture


def item(path, *, mask=None, steps=(), **wanted):
    inputs = [Input(role="image", path=path)]
    if mask is not None:
        inputs.append(Input(role="mask", path=mask))
    parameters = wanted if steps else {"format": "png"} | wanted
    return Item(
        job_id="job",
        operation="smart-mask",
        parameters=parameters,
        inputs=tuple(inputs),
        steps=steps,
    )


def ask(engine, path, **wanted):
    """The Result of a job."""
    one = item(path, **wanted)
    assert not refuses(engine, **one.parameters)
    (outcome,) = engine.run([one], Silent())
    (result,) = finishing.finish(one, outcome, Silent())
    return result


def grey(result):
    """The mask as it is stored, which is a grey picture of 8 bits."""
    assert result.content_type == "image/png"
    found = cv2.imdecode(np.frombuffer(result.data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert (found.ndim, found.dtype) == (2, np.uint8)
    assert found.shape == (result.height_px, result.width_px)
    return found


def masked(engine, path, **wanted):
    return grey(ask(engine, path, **wanted))


def drawn(tmp_path, mask, name="mask.png"):
    path = tmp_path / name
    Image.fromarray(mask).save(path)
    return path


def overlap(a, b):
    a, b = a > 127, b > 127
    return (a & b).sum() / (a | b).sum()


def truth(name):
    return pixels.decode(PHOTOS / f"{name}.alpha.png")[..., 0]


@pytest.mark.parametrize(
    ("photo", "name", "point", "box", "by_point", "by_box"), PROMPTS
)
def test_an_object_is_found_by_a_point_and_by_a_box(
    engine, photo, name, point, box, by_point, by_box
):
    assert overlap(masked(engine, photo, points=[point]), truth(name)) >= by_point
    assert overlap(masked(engine, photo, box=box), truth(name)) >= by_box


def test_further_points_correct_a_mask(engine):
    # Beside the arms at first: one point on each brings them.
    points = [[233, 268], [105, 95], [365, 110]]
    both = masked(engine, PERSON, points=points)
    assert overlap(both, truth("person_arms_raised")) >= 0.85


def test_a_click_on_the_clothes_of_who_looks_at_us_is_the_person(engine):
    found = masked(engine, FORMATS / "avif_plain.avif", points=[[64, 115]])
    # Her face as well, and not the shirt alone.
    assert (found[38:68, 52:76] > 127).mean() > 0.95
    assert 0.4 < (found > 127).mean() < 0.7


def test_the_subject_is_found_without_any_prompt(engine):
    assert overlap(masked(engine, LEMUR, auto=True), truth("animal_lemur_fur")) >= 0.95


def test_strokes_lie_within_the_object(engine, tmp_path):
    strokes = np.zeros((440, 680), np.uint8)
    cv2.polylines(
        strokes, [np.array([[240, 330], [340, 120], [440, 330]])], False, 255, 6
    )
    found = masked(engine, LEMUR, mask=drawn(tmp_path, strokes))
    assert overlap(found, truth("animal_lemur_fur")) >= 0.9


def test_paint_reaches_over_the_object(engine, tmp_path):
    painted = cv2.dilate(truth("animal_white_tiger"), np.ones((61, 61), np.uint8))
    found = masked(engine, TIGER, mask=drawn(tmp_path, painted))
    assert overlap(painted, truth("animal_white_tiger")) < 0.7
    assert overlap(found, truth("animal_white_tiger")) >= 0.9


# (photo, accepted alpha, its point, least by a blob there, least by the alpha made
# smaller by 20 pixels on every side)
TOO_SMALL = [
    (LEMUR, "animal_lemur_fur", (339, 275), 0.96, 0.96),
    (TIGER, "animal_white_tiger", (378, 410), 0.82, 0.80),
    (CAR, "car_concept_with_person", (131, 235), 0.81, 0.81),
]


@pytest.mark.parametrize(("photo", "name", "point", "by_blob", "by_less"), TOO_SMALL)
def test_paint_that_is_too_small_finds_the_whole_object(
    engine, tmp_path, photo, name, point, by_blob, by_less
):
    object_ = truth(name)
    less = cv2.erode(object_, np.ones((41, 41), np.uint8))
    found = masked(engine, photo, mask=drawn(tmp_path, less, "less.png"))
    assert overlap(found, object_) >= by_less
    for radius in (12, 25, 50):
        blob = cv2.circle(np.zeros_like(object_), point, radius, 255, -1)
        found = masked(engine, photo, mask=drawn(tmp_path, blob))
        assert overlap(found, object_) >= by_blob


def test_paint_along_edges_is_the_object_though_it_may_be_a_part(engine, tmp_path):
    picture = plain(300, 400, GREEN)
    cv2.rectangle(picture, (100, 60), (300, 240), RED, -1)
    cv2.circle(picture, (200, 150), 50, (90, 20, 60), -1)
    inner = cv2.circle(np.zeros((300, 400), np.uint8), (200, 150), 50, 255, -1)
    found = masked(engine, save(tmp_path, picture), mask=drawn(tmp_path, inner))
    assert overlap(found, inner) >= 0.95


def test_paint_on_a_plain_picture_stays_where_it_is(engine, tmp_path):
    paint = cv2.circle(np.zeros((300, 400), np.uint8), (200, 150), 50, 255, -1)
    found = masked(engine, save(tmp_path, plain(300, 400)), mask=drawn(tmp_path, paint))
    assert (found[150, 200], found[20, 20]) == (255, 0)
    assert overlap(found, paint) >= 0.5


def test_paint_in_a_box_grows_to_the_object_in_it(engine, pair, tmp_path):
    paint = cv2.circle(np.zeros((300, 400), np.uint8), (140, 150), 25, 255, -1)
    box = [76, 86, 200, 214]
    found = masked(engine, pair, mask=drawn(tmp_path, paint), box=box)
    assert (found[110, 140], found[150, 270]) == (255, 0)


def test_a_mask_whose_middle_is_beside_the_object_guides_all_the_same(engine, tmp_path):
    picture = plain(300, 400, GREEN)
    cv2.circle(picture, (200, 150), 90, RED, 30)
    ring = np.zeros((300, 400), np.uint8)
    cv2.circle(ring, (200, 150), 90, 255, 6)
    mask = drawn(tmp_path, ring)
    found = masked(engine, save(tmp_path, picture), mask=mask)
    assert found[150, 200] < 20
    assert overlap(found, np.uint8(255) * (picture == RED).all(axis=2)) >= 0.95


def test_strokes_may_be_drawn_on_a_clear_layer_of_another_size(engine, disc, tmp_path):
    layer = np.zeros((600, 800, 4), np.uint8)
    cv2.line(layer, (360, 300), (440, 300), (0, 0, 0, 255), 8)
    found = masked(engine, disc, mask=drawn(tmp_path, layer))
    assert found.shape == (300, 400)
    assert (
        overlap(
            found, cv2.circle(np.zeros((300, 400), np.uint8), (200, 150), 60, 255, -1)
        )
        > 0.95
    )


def test_an_empty_mask_is_refused_unless_the_subject_may_be_found(
    engine, disc, tmp_path
):
    empty = drawn(tmp_path, np.full((300, 400), 90, np.uint8))
    with pytest.raises(InvalidParameters, match="mask marks nothing"):
        ask(engine, disc, mask=empty)
    assert masked(engine, disc, mask=empty, auto=True)[150, 200] > 200


def test_a_mask_of_another_picture_is_refused(engine, disc, tmp_path):
    with pytest.raises(InvalidParameters, match="proportions"):
        ask(engine, disc, mask=drawn(tmp_path, np.full((400, 300), 255, np.uint8)))


def test_a_point_beside_the_object_cuts_its_neighbour_off(engine, pair):
    both = masked(engine, pair, points=[[140, 150]])
    assert both[150, 260] > 200
    one = masked(engine, pair, points=[[140, 150], [260, 150]], labels=[1, 0])
    assert (one[150, 140], one[150, 260]) == (255, 0)
    assert (
        overlap(
            one, cv2.circle(np.zeros((300, 400), np.uint8), (140, 150), 60, 255, -1)
        )
        > 0.85
    )


def test_boxes_hold_an_object_each(engine, tmp_path):
    picture = discs((80, 80))
    cv2.circle(picture, (300, 200), 50, BLUE, -1)
    boxes = [[18, 18, 142, 142], [248, 148, 352, 252]]
    found = ask(engine, save(tmp_path, picture), boxes=boxes)
    mask = grey(found)
    assert (mask[80, 80], mask[200, 300], mask[140, 190]) == (255, 255, 0)
    assert found.details["box"] == pytest.approx([20, 20, 351, 251], abs=3)


def test_a_box_with_a_point_finds_what_the_point_is_on(engine, pair):
    found = masked(engine, pair, box=[75, 85, 205, 215], points=[[140, 150]])
    assert (found[150, 140], found[150, 270]) == (255, 0)


def test_a_box_beyond_the_image_is_cut_off(engine, disc):
    inner, outer = [130, 80, 270, 220], [130, 80, 270, 2200]
    assert masked(engine, disc, box=inner)[150, 200] == 255
    assert masked(engine, disc, box=outer)[150, 200] == 255


@pytest.mark.parametrize("kind", ["points", "box", "mask", "auto"])
@pytest.mark.parametrize("border", [-10, 10])
def test_the_outline_is_moved_whatever_was_asked(engine, disc, tmp_path, kind, border):
    stroke = np.zeros((300, 400), np.uint8)
    cv2.line(stroke, (180, 150), (220, 150), 255, 5)
    prompts = {
        "points": {"points": [[200, 150]]},
        "box": {"box": [135, 85, 265, 215]},
        "mask": {"mask": drawn(tmp_path, stroke)},
        "auto": {"auto": True},
    }
    area = ask(engine, disc, border_adjustment=border, **prompts[kind])
    radius = (area.details["area_px"] / np.pi) ** 0.5
    assert radius == pytest.approx(60 + border, abs=1.5)


def test_the_edge_is_soft_and_blur_makes_it_softer(engine):
    plain_ = masked(engine, LEMUR, box=[156, 63, 530, 440])
    blurred = masked(engine, LEMUR, box=[156, 63, 530, 440], blur=True)
    soft, softer = (((one > 10) & (one < 245)).sum() for one in (plain_, blurred))
    assert 1500 < soft < softer / 2


def test_details_say_what_the_mask_shows(engine, disc):
    result = ask(engine, disc, points=[[200, 150]])
    assert result.details["box"] == pytest.approx([140, 90, 261, 211], abs=2)
    assert result.details["area_px"] == pytest.approx(np.pi * 60**2, rel=0.02)
    assert (grey(result) > 127).sum() == pytest.approx(
        result.details["area_px"], rel=0.01
    )
    assert 0.9 < result.details["score"] <= 1


def test_an_unclear_object_has_a_lower_score_than_a_clear_one(engine, disc):
    clear = ask(engine, disc, points=[[200, 150]]).details["score"]
    unclear = ask(engine, PHOTOS / "interior_bedroom.jpg", points=[[600, 300]])
    assert unclear.details["score"] < clear - 0.05


def test_places_are_those_of_the_upright_image(engine, tmp_path):
    path = tmp_path / "turned.jpg"
    lying = np.rot90(discs((100, 80)))  # upright: a disc around (100, 80), 400 x 300
    turn = Image.Exif()
    turn[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(lying)).save(path, exif=turn, quality=95)
    found = ask(engine, path, points=[[100, 80]])
    assert (found.width_px, found.height_px) == (400, 300)
    assert found.details["box"] == pytest.approx([40, 20, 161, 141], abs=3)


@pytest.mark.parametrize(("wanted", "said"), WRONG)
def test_what_does_not_go_with_the_image_is_refused_with_a_reason(
    engine, disc, wanted, said
):
    with pytest.raises(InvalidParameters, match=said):
        ask(engine, disc, **wanted)


def test_a_picture_without_a_subject_is_not_answered_with_an_empty_mask(
    engine, tmp_path
):
    with pytest.raises(InvalidParameters, match="subject"):
        ask(engine, save(tmp_path, plain(200, 300)), auto=True)


def test_what_cannot_be_a_prompt_is_refused_by_the_schema(engine):
    assert refuses(engine, labels=[1])
    assert refuses(engine, points=[])
    assert refuses(engine, points=[[1, 2, 3]])
    assert refuses(engine, points=[[-1, 2]])
    assert refuses(engine, points=[[1, 2]], labels=[2])
    assert refuses(engine, box=[1, 2, 3])
    assert refuses(engine, box=[1, 2, 3, 4], boxes=[[1, 2, 3, 4]])
    assert refuses(engine, auto=True, border_adjustment=1.5)
    assert refuses(engine, auto=True, border_adjustment=201)
    assert refuses(engine, auto=True, format="jpg")
    assert refuses(engine, text="the cat")


def test_the_same_click_gives_the_same_mask(engine):
    wanted = {"points": [[378, 410]]}
    first = ask(engine, TIGER, **wanted).data
    source.forget()
    assert ask(engine, TIGER, **wanted).data == first


def test_a_second_click_does_not_decode_again(engine, disc, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes(disc.read_bytes())
    assert source.read(copy) is source.read(disc)


def test_a_picture_of_the_same_size_and_name_gets_a_mask_of_its_own(engine, tmp_path):
    strokes = np.zeros((300, 400), np.uint8)
    cv2.line(strokes, (70, 150), (110, 150), 255, 5)
    mask = drawn(tmp_path, strokes)
    for colour in (RED, BLUE):
        middle = (90, 150) if colour == RED else (90, 180)
        path = save(tmp_path, discs(middle, colour=colour))
        box = ask(engine, path, mask=mask).details["box"]
        assert box[1] == pytest.approx(middle[1] - 60, abs=3)


def test_few_pictures_are_kept(engine, tmp_path):
    for number in range(source.KEPT + 3):
        path = drawn(tmp_path, plain(40, 40, (number * 20, 50, 90)))
        source.read(path)
    assert source.kept() == source.KEPT


def test_a_mask_can_be_followed_by_steps(engine, disc):
    crop = Step(
        operation="crop",
        parameters={"x": 140, "y": 90, "width": 120, "height": 120, "format": "webp"},
    )
    result = ask(engine, disc, points=[[200, 150]], steps=(crop,))
    assert (result.content_type, result.width_px) == ("image/webp", 120)


SIZES = [(2, 900), (900, 3), (9, 9), (300, 17)]


@pytest.mark.parametrize("size", [(1, 1), *SIZES])
def test_any_size_is_masked_from_a_point(engine, tmp_path, size):
    path = save(tmp_path, noise(size))
    assert masked(engine, path, points=[[0, 0]]).shape == size


@pytest.mark.parametrize("size", SIZES)
def test_any_size_is_masked_from_a_box(engine, tmp_path, size):
    path = save(tmp_path, noise(size))
    assert masked(engine, path, box=[0, 0, 2, size[0]]).shape == size


def noise(size):
    return np.random.default_rng(1).integers(0, 255, (*size, 3), np.uint8)


def test_a_plain_picture_is_masked_where_it_was_pointed_at(engine, tmp_path):
    path = save(tmp_path, plain(200, 300))
    assert masked(engine, path, points=[[150, 100]])[100, 150] == 255
    assert masked(engine, path, box=[50, 50, 250, 150])[100, 150] == 255
    assert masked(engine, path, box=[0, 0, 300, 200])[100, 150] == 255


def test_a_transparent_picture_is_seen_on_white(engine, tmp_path):
    picture = np.zeros((300, 400, 4), np.uint8)
    cv2.circle(picture, (200, 150), 60, (*RED, 255), -1)
    found = masked(engine, save(tmp_path, picture), points=[[200, 150]])
    assert (found[150, 200], found[20, 20]) == (255, 0)


def test_a_damaged_picture_is_told_apart_from_a_bad_prompt(engine):
    with pytest.raises(InvalidImage):
        ask(engine, FORMATS / "png_broken.png", points=[[1, 1]])

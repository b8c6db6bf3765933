"""What an editing model is shown: which pictures, in which order, where on the canvas;
and what of its canvas becomes the result."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_worker import pixels
from gpu_worker.engines.base import Arrays, Input, Item
from gpu_worker.engines.parameters.edit import CONDITIONS
from gpu_worker.engines.qwen import sizes
from gpu_worker.engines.qwen.edit import Edit
from gpu_worker.engines.qwen.sizes import Canvas
from gpu_worker.errors import InvalidParameters
from gpu_worker.pixels import Pixels
from tests.gpu_worker.engines.pictures import plain

RED, GREEN, BLUE = (200, 30, 30), (30, 200, 30), (30, 30, 200)
BLACK, WHITE = [0, 0, 0], [255, 255, 255]
Ask = Callable[..., Item]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """An edit of pictures by role, decoded as the child does it."""

    def asked(images: dict[str, Pixels | list[Pixels]], **parameters: Any) -> Item:
        inputs = []
        for role, shown in images.items():
            for one in shown if isinstance(shown, list) else [shown]:
                path = tmp_path / f"{len(inputs)}.png"
                path.write_bytes(pixels.encode(one, "png").data)
                inputs.append(Input(role=role, path=path))
        item = Item(
            job_id="job", operation="edit", parameters=parameters, inputs=tuple(inputs)
        )
        item.arrays.update(Edit.decode(item))
        return item

    return asked


def conditions(item: Item) -> list[Pixels]:
    count = sum(name.startswith("condition-") for name in item.arrays)
    return [item.arrays[f"condition-{n}"] for n in range(count)]


def canvas(item: Item) -> Canvas:
    return Canvas.of(item.arrays["canvas"])


def box(height: int, width: int, *, of: tuple[int, int]) -> Pixels:
    """A mask (H, W) with a box in its middle."""
    made = np.zeros(of, np.uint8)
    top, left = (of[0] - height) // 2, (of[1] - width) // 2
    made[top : top + height, left : left + width] = 255
    return made


def result(item: Item, painted: Pixels) -> Pixels:
    """What becomes of a painted canvas."""
    arrays = {n: v for n, v in item.arrays.items() if not n.startswith("condition-")}
    made = Arrays(arrays=arrays | {"pictures": painted[None]}, details={"seeds": [7]})
    [picture] = Edit.encode(item, made)
    assert picture.details["seed"] == 7
    return picture.pixels


def test_images_are_shown_in_the_order_of_the_request_the_reference_last(
    ask: Ask,
) -> None:
    images = [plain(40, 60, RED), plain(40, 40, GREEN)]
    item = ask({"reference": plain(20, 20, BLUE), "image": images}, prompt="x")
    assert [one[0, 0].tolist() for one in conditions(item)] == [
        list(RED),
        list(GREEN),
        list(BLUE),
    ]


def test_transparent_image_is_shown_on_white(ask: Ask) -> None:
    item = ask({"image": np.zeros((40, 60, 4), np.uint8)}, prompt="x")
    assert conditions(item)[0][5, 5].tolist() == WHITE


@pytest.mark.parametrize(
    ("size", "painted", "made"),
    [
        ((640, 480), (512, 384), (512, 384)),
        ((641, 480), (768, 576), (768, 575)),
        ((100, 1280), (80, 1024), (80, 1024)),
        ((1281, 1281), (1536, 1536), (1536, 1536)),
        ((3000, 1500), (2048, 1024), (2048, 1024)),
    ],
)
def test_image_is_worked_on_in_the_bucket_of_its_longer_side(
    size: tuple[int, int], painted: tuple[int, int], made: tuple[int, int]
) -> None:
    found = sizes.of_edit(size, {"input_quality": "resized"}, is_placed=False)
    assert (found.size_px, found.result_px) == (painted, made)


def test_original_keeps_its_size_and_what_is_too_large_is_refused() -> None:
    wanted = {"input_quality": "original"}
    found = sizes.of_edit((700, 333), wanted, is_placed=False)
    assert (found.size_px, found.result_px) == ((704, 336), (700, 333))
    with pytest.raises(InvalidParameters, match="2048"):
        sizes.of_edit((2049, 10), wanted, is_placed=False)


def test_task_is_painted_on_a_black_square_whose_bars_are_not_in_the_result(
    ask: Ask,
) -> None:
    mask = box(10, 10, of=(48, 64))
    item = ask(
        {"image": plain(48, 64, RED), "mask": mask},
        task="removal",
        input_quality="original",
    )
    square = conditions(item)[0]
    assert square.shape == (64, 64, 3)
    assert square[0, 0].tolist() == square[-1, -1].tolist() == BLACK
    assert square[8, 0].tolist() == square[55, 63].tolist() == list(RED)
    painted = plain(64, 64, GREEN)
    painted[:8] = painted[56:] = 0
    assert (result(item, painted) == plain(48, 64, GREEN)).all()


def test_removal_is_shown_the_hole_the_mask_and_the_filled_hole(ask: Ask) -> None:
    mask = box(20, 20, of=(64, 64))
    item = ask(
        {"image": plain(64, 64, RED), "mask": mask},
        task="removal",
        input_quality="original",
    )
    hole, shown, filled = conditions(item)
    assert hole[32, 32].tolist() == BLACK and hole[5, 5].tolist() == list(RED)
    assert shown[32, 32].tolist() == WHITE and shown[5, 5].tolist() == BLACK
    assert abs(filled[32, 32].astype(int) - RED).max() <= 2


def test_mask_of_a_brush_is_grown_before_the_hole_is_filled(ask: Ask) -> None:
    image = plain(200, 200, RED)
    image[90:110, 60:140] = GREEN  # what the brush did not quite cover
    images = {"image": image, "mask": box(10, 10, of=(200, 200))}
    wanted = {"task": "removal", "input_quality": "original"}
    by_box = conditions(ask(images, mask_tool="box", **wanted))[2]
    by_brush = conditions(ask(images, mask_tool="brush", **wanted))[2]
    assert by_box[100, 100].tolist() == list(GREEN)
    assert by_brush[100, 100].tolist() != list(GREEN)


def test_removals_first_picture_is_the_owners_to_choose(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIJIKA_QWEN_REMOVAL_FIRST", "image")
    images = {"image": plain(64, 64, RED), "mask": box(20, 20, of=(64, 64))}
    item = ask(images, task="removal", input_quality="original")
    assert conditions(item)[0][32, 32].tolist() == list(RED)


def test_white_balance_is_shown_the_image_and_its_edges(ask: Ask) -> None:
    image = plain(48, 64, RED)
    image[:, 32:] = 255
    item = ask({"image": image}, task="white-balance", input_quality="original")
    shown, edges = conditions(item)
    assert shown[20, 5].tolist() == list(RED)
    assert edges[32, 30:34].max() == 255
    assert edges[:8].max() == edges[:, :20].max() == 0  # a bar is no edge


def test_insertion_is_shown_the_reference_the_mask_and_the_hole(ask: Ask) -> None:
    images = {
        "image": plain(64, 64, RED),
        "mask": box(20, 20, of=(64, 64)),
        "reference": plain(30, 50, BLUE),
    }
    item = ask(images, task="insertion", input_quality="original")
    reference, mask, hole = conditions(item)
    assert (reference == plain(30, 50, BLUE)).all()
    assert mask[32, 32].tolist() == WHITE
    assert hole[32, 32].tolist() == BLACK
    assert "blend" not in item.arrays


def two_masks(**more: Any) -> dict[str, Any]:
    """An object twice as wide as high, for two places."""
    place = np.zeros((128, 128), np.uint8)
    place[10:50, 10:50] = place[80:100, 60:120] = 255
    outline = np.zeros((60, 60), np.uint8)
    outline[20:40, 10:50] = 255
    reference = plain(60, 60, BLUE)
    reference[20:40, 10:50] = GREEN
    images = {
        "image": plain(128, 128, RED),
        "mask": place,
        "reference": reference,
        "reference_mask": outline,
    }
    return images | more


def test_object_is_fitted_into_every_place_of_the_mask(ask: Ask) -> None:
    item = ask(two_masks(), task="insertion", input_quality="original")
    reference, mask, hole = conditions(item)
    assert reference[5, 5].tolist() == WHITE  # the object alone
    assert reference[30, 30].tolist() == list(GREEN)
    marked = mask[..., 0] > 127
    first, second = np.argwhere(marked[:64]), np.argwhere(marked[64:])
    assert (np.ptp(first, axis=0) + 1).tolist() == [20, 40]
    assert first.mean(axis=0).round().tolist() == [30, 30]
    assert (np.ptp(second, axis=0) + 1).tolist() == [20, 40]
    assert (hole[marked] == 0).all()


def test_object_throws_a_hint_of_a_shadow_and_stays_dark_itself(ask: Ask) -> None:
    item = ask(two_masks(), task="insertion", input_quality="original")
    _, _, hole = conditions(item)
    assert 0 < hole[42, 30, 0] < RED[0]  # below the first
    assert hole[15, 30].tolist() == list(RED)  # above it


def test_nothing_but_the_object_and_its_shadow_is_new(ask: Ask) -> None:
    item = ask(two_masks(), task="insertion", input_quality="original")
    made = result(item, plain(128, 128, GREEN))
    assert made[30, 30].tolist() == list(GREEN)
    assert made[10, 15].tolist() == list(RED)  # in the place, beside the object
    assert made[120, 10].tolist() == list(RED)


def test_without_a_task_a_mask_says_what_may_change(ask: Ask) -> None:
    images = {"image": plain(64, 64, RED), "mask": box(30, 30, of=(64, 64))}
    item = ask(images, prompt="x", input_quality="original")
    assert (conditions(item)[0] == plain(64, 64, RED)).all()
    made = result(item, plain(64, 64, GREEN))
    assert made[32, 32].tolist() == list(GREEN)
    assert made[2, 2].tolist() == list(RED)


@pytest.mark.parametrize("task", ["removal", "insertion"])
def test_mask_that_marks_nothing_is_refused(ask: Ask, task: str) -> None:
    images = {
        "image": plain(64, 64, RED),
        "mask": np.zeros((64, 64), np.uint8),
        "reference": plain(9, 9, BLUE),
    }
    with pytest.raises(InvalidParameters, match="marks nothing"):
        ask(images, task=task)


def test_task_without_its_images_is_refused(ask: Ask) -> None:
    with pytest.raises(InvalidParameters, match="mask"):
        ask({"image": plain(64, 64, RED)}, task="removal")


def test_what_came_along_with_a_task_follows_its_own_pictures(ask: Ask) -> None:
    images = {
        "image": [plain(64, 64, RED), plain(20, 20, GREEN)],
        "mask": box(20, 20, of=(64, 64)),
    }
    item = ask(images, task="removal", input_quality="original")
    shown = conditions(item)
    assert len(shown) == len(CONDITIONS["removal"]) + 1
    assert shown[-1][0, 0].tolist() == list(GREEN)


def test_asked_size_is_painted_and_a_masked_one_is_cut_out_of_the_middle(
    ask: Ask,
) -> None:
    free = canvas(ask({"image": plain(64, 64, RED)}, width=300, height=256))
    assert (free.size_px, free.result_px) == ((304, 256), (300, 256))
    images = {"image": plain(64, 64, RED), "mask": box(20, 20, of=(64, 64))}
    wanted = {"input_quality": "original", "width": 300, "height": 150}
    placed = canvas(ask(images, prompt="x", **wanted))
    assert placed.window == (0, 16, 64, 32)
    assert placed.result_px == (300, 150)

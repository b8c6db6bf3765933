"""canny/imaging: edges by fixed thresholds and by the image's own median."""

import cv2
import numpy as np
import pytest

from gpu_worker import pixels
from gpu_worker.engines.imaging import canny
from gpu_worker.errors import InvalidParameters
from jobs.errors import BadFields
from tests.gpu_worker.engines.pictures import PHOTOS, plain

BEDROOM = PHOTOS / "interior_bedroom.jpg"


@pytest.fixture(scope="module")
def grey():
    return cv2.cvtColor(pixels.decode(BEDROOM), cv2.COLOR_RGB2GRAY)


def test_fixed_thresholds_are_100_and_200_without_smoothing(desk, grey):
    shown = desk("canny", BEDROOM, mode="fixed")
    assert (shown == cv2.Canny(grey, 100, 200)[..., None]).all()
    assert desk.last.content_type == "image/png"


def test_automatic_thresholds_lie_a_third_around_the_smoothed_median(desk, grey):
    smooth = cv2.bilateralFilter(grey, 9, 75, 75)
    median = float(np.median(smooth))
    low, high = int(0.67 * median), min(255, int(1.33 * median))
    shown = desk("canny", BEDROOM)
    assert (shown == cv2.Canny(smooth, low, high)[..., None]).all()
    assert desk.last.details == {"low": low, "high": high}


def test_edges_are_white_lines_on_black(desk):
    shown = desk("canny", BEDROOM)
    assert set(np.unique(shown)) == {0, 255}
    assert 0.001 < (shown > 0).mean() < 0.1


@pytest.mark.parametrize("level", [0, 7, 128, 255])
def test_the_median_of_a_plain_image_is_its_level(level):
    low, high = canny.thresholds(np.full((5, 5), level, np.uint8))
    assert (low, high) == (int(0.67 * level), min(255, int(1.33 * level)))


def test_what_is_transparent_counts_as_white(desk):
    image = plain(60, 60, (255, 255, 255, 255))
    image[:30] = (0, 0, 0, 0)
    assert not desk("canny", image, mode="fixed").any()


def test_higher_thresholds_leave_fewer_edges(desk):
    counts = [
        (desk("canny", BEDROOM, mode="fixed", low=low, high=2 * low) > 0).sum()
        for low in (20, 80, 300)
    ]
    assert counts == sorted(counts, reverse=True)


def test_thresholds_in_the_wrong_order_are_refused(desk):
    with pytest.raises(InvalidParameters, match="low is above high"):
        desk("canny", BEDROOM, mode="fixed", low=300)


@pytest.mark.parametrize(
    "wanted", [{"low": 10}, {"mode": "automatic", "high": 9}, {"mode": "sobel"}]
)
def test_the_schema_refuses(desk, wanted):
    with pytest.raises(BadFields):
        desk("canny", BEDROOM, **wanted)

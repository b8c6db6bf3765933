"""Known alphas on other photos: the truth is exact, also along hair.

A composite should be a photo that somebody could have taken: the subject stands where
subjects stand (one that its photo's edge cuts off stays cut off there), has the
brightness of its new place, and the place is as much out of focus as it may be. Noise
and a JPEG lie over both, so that nothing tells them apart but what they are. Seeded:
the same cases every time.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.cutout.photos import Case
from gpu_worker.pixels import Pixels

Floats = NDArray[np.float32]

LONG_SIDE_PX = 800
SHAPES = (1.5, 1.33, 1.0, 0.75, 1.78)
COUNT = 60
STUDIO = (800, 600)
STUDIO_COUNT = 20
SWEEP_COUNT = 24
# Paper and cloth that products are photographed on.
PAPERS = (
    *((245, 245, 245), (205, 205, 208), (160, 160, 162), (60, 60, 62), (25, 25, 27)),
    *((225, 205, 180), (190, 150, 110), (120, 80, 50), (150, 180, 200), (40, 70, 120)),
    *((230, 190, 195), (170, 190, 150), (240, 225, 140), (200, 70, 60)),
)

# Places without a subject, as shares of a photo's width and height: left, top, right,
# bottom.
PLACES = (
    ("interior_bedroom", (0.50, 0.0, 0.80, 1.0)),
    ("interior_bedroom", (0.48, 0.55, 1.0, 1.0)),
    ("animal_lemur_fur", (0.0, 0.0, 0.22, 1.0)),
    ("animal_lemur_fur", (0.80, 0.0, 1.0, 1.0)),
    ("animal_white_tiger", (0.0, 0.0, 1.0, 0.27)),
    ("person_arms_raised", (0.68, 0.0, 1.0, 1.0)),
    ("scene_street_sign", (0.50, 0.0, 1.0, 1.0)),
    ("scene_street_sign", (0.0, 0.45, 0.33, 1.0)),
    ("car_pickup_truck", (0.72, 0.0, 1.0, 0.45)),
    ("car_pickup_truck", (0.0, 0.70, 1.0, 1.0)),
    ("car_concept_with_person", (0.0, 0.14, 0.84, 0.42)),
    ("product_kettle_mug", (0.0, 0.0, 0.24, 0.62)),
)


def made(
    cases: Sequence[Case], count: int = COUNT, *, of: Sequence[Case] = ()
) -> list[Case]:
    """`count` composites of all subjects in turn, each on a place not its own. Places
    are those of `cases`; subjects too, unless `of` has others."""
    places, subjects = _places(cases), of or cases
    composites = []
    for number in range(count):
        case = subjects[number % len(subjects)]
        random = np.random.default_rng([7, number])
        others = [place for name, place in places if name != case.name]
        if not others:
            continue
        place = others[int(random.integers(len(others)))]
        composites.append(
            _composite(f"composite_{number:02}_{case.name}", case, place, random)
        )
    return composites


def studio(cases: Sequence[Case], count: int = STUDIO_COUNT) -> list[Case]:
    """Product shots: the subjects on white or grey, with a soft shadow below."""
    return [_studio(number, cases[number % len(cases)]) for number in range(count)]


def _studio(number: int, case: Case) -> Case:
    random = np.random.default_rng([5, number])
    subject, alpha = _placed(case, STUDIO, random)
    width, height = STUDIO
    grey = float(random.choice([225, 245, 255]))
    ground = _shaded(np.full((height, width, 3), grey, np.float32), alpha, random)
    mixed = ground + alpha[..., None] * (subject - ground)
    photo = _photographed(mixed, random)
    return _shot("studio", number, case, photo=photo, alpha=alpha)


def _shot(group: str, number: int, case: Case, *, photo: Pixels, alpha: Floats) -> Case:
    return Case(
        name=f"{group}_{number:02}_{case.name}",
        group=group,
        subject=case.subject,
        photo=photo,
        alphas=((alpha * 255).round().astype(np.uint8),),
    )


def sweep(cases: Sequence[Case], count: int = SWEEP_COUNT) -> list[Case]:
    """Product shots: the subjects on paper of some colour, on which the light falls
    off, with grain, a shadow below and sometimes one that is cast aside."""
    return [_sweep(number, cases[number % len(cases)]) for number in range(count)]


def _sweep(number: int, case: Case) -> Case:
    random = np.random.default_rng([11, number])
    subject, alpha = _placed(case, STUDIO, random)
    paper = np.array(PAPERS[int(random.integers(len(PAPERS)))], np.float32)
    grain = random.normal(0, random.uniform(0, 5), alpha.shape)
    grain = cv2.GaussianBlur(grain.astype(np.float32), (0, 0), 0.8)
    ground = paper * _light(STUDIO, random)[..., None] + grain[..., None]
    ground = _shaded(ground, alpha, random)
    if random.random() < 0.5:
        ground = ground * (1 - _cast(alpha, random)[..., None])
    mixed = ground + alpha[..., None] * (subject - ground)
    photo = _photographed(mixed, random)
    return _shot("sweep", number, case, photo=photo, alpha=alpha)


def _light(size: tuple[int, int], random: np.random.Generator) -> Floats:
    """Light that falls off to the corners, from one side, or around a spot."""
    width, height = size
    y, x = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    fall = random.uniform(0.05, 0.45)
    to_corners = 1 - fall * 2 * (x**2 + y**2)
    turn = random.uniform(0, 2 * np.pi)
    from_side = 1 + fall * (x * np.cos(turn) + y * np.sin(turn))
    place, wide = random.uniform(-0.3, 0.3, 2), random.uniform(0.4, 0.8)
    away = ((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * wide**2)
    kinds = (to_corners, from_side, to_corners * from_side, 1 - fall * -np.expm1(-away))
    return kinds[int(random.integers(len(kinds)))].astype(np.float32)


def _cast(alpha: Floats, random: np.random.Generator) -> Floats:
    """The shadow that a lamp casts aside on the floor: the silhouette, flat and
    slanted from its foot."""
    height, width = alpha.shape
    rows, columns = np.nonzero(alpha > 0.5)
    slant, flat = random.uniform(-0.5, 0.5), random.uniform(0.2, 0.5)
    foot = float(rows.max())
    move = np.array([[1, slant, -slant * foot], [0, flat, foot * (1 - flat)]])
    cast = cv2.warpAffine(alpha, move, (width, height))
    blurred = cv2.GaussianBlur(cast, (0, 0), max(2.0, 0.04 * np.ptp(columns)))
    return (blurred * random.uniform(0.1, 0.35)).astype(np.float32)


def _places(cases: Sequence[Case]) -> list[tuple[str, Pixels]]:
    photos = {case.name: case.photo for case in cases}
    found = []
    for name, (left, top, right, bottom) in PLACES:
        if name in photos:
            height, width = photos[name].shape[:2]
            rows = slice(round(top * height), round(bottom * height))
            columns = slice(round(left * width), round(right * width))
            found.append((name, photos[name][rows, columns]))
    return found


def _composite(
    name: str, case: Case, place: Pixels, random: np.random.Generator
) -> Case:
    shape = SHAPES[int(random.integers(len(SHAPES)))]
    size = (
        round(LONG_SIDE_PX * min(1, shape)),
        round(LONG_SIDE_PX * min(1, 1 / shape)),
    )
    background = _background(place, size, random)
    subject, alpha = _placed(case, size, random)
    subject = _lit(subject, alpha, background, random)
    background = _shaded(background, alpha, random)
    mixed = background + alpha[..., None] * (subject - background)
    return Case(
        name=name,
        group="composite",
        subject=case.subject,
        photo=_photographed(mixed, random),
        alphas=((alpha * 255).round().astype(np.uint8),),
    )


def _background(
    place: Pixels, size: tuple[int, int], random: np.random.Generator
) -> Floats:
    """The place at (width, height), perhaps mirrored, perhaps out of focus."""
    width, height = size
    scale = max(width / place.shape[1], height / place.shape[0])
    covering = (
        max(width, round(place.shape[1] * scale)),
        max(height, round(place.shape[0] * scale)),
    )
    large = cv2.resize(place, covering, interpolation=cv2.INTER_CUBIC)
    left = int(random.integers(large.shape[1] - width + 1))
    top = int(random.integers(large.shape[0] - height + 1))
    cut = large[top : top + height, left : left + width].astype(np.float32)
    if random.random() < 0.5:
        cut = cut[:, ::-1]
    focus = float(random.choice([0, 0, 1.5, 4]))
    return cv2.GaussianBlur(cut, (0, 0), focus) if focus else np.ascontiguousarray(cut)


def _placed(
    case: Case, size: tuple[int, int], random: np.random.Generator
) -> tuple[Floats, Floats]:
    """The subject's own colours (H, W, 3), and its alpha (H, W) in 0 to 1."""
    alpha = case.alphas[0].astype(np.float32) / np.float32(255)
    colours = _colours(case.photo.astype(np.float32), alpha)
    rows, columns = np.nonzero(alpha > 0.05)
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    cut_below = box[3] >= alpha.shape[0] - 3
    width, height = size
    share = random.uniform(0.45, 0.9)
    scale = share * min(width / (box[2] - box[0]), height / (box[3] - box[1]))
    free_x = width - scale * (box[2] - box[0])
    free_y = height - scale * (box[3] - box[1])
    x = free_x * random.uniform(0.2, 0.8)
    y = free_y + 2 if cut_below else free_y * random.uniform(0.45, 0.9)
    turn = -1 if random.random() < 0.5 else 1
    start = x - scale * box[0] if turn > 0 else x + scale * box[2]
    move = np.array([[turn * scale, 0, start], [0, scale, y - scale * box[1]]])
    both = np.dstack([colours * alpha[..., None], alpha])
    if scale < 1:  # warping does not average
        both = cv2.GaussianBlur(both, (0, 0), 0.4 / scale)
    warped = cv2.warpAffine(both, move, size, flags=cv2.INTER_LINEAR)
    alpha = np.clip(warped[..., 3], 0, 1)
    return warped[..., :3] / np.maximum(warped[..., 3:], 1e-3), alpha


def _colours(photo: Floats, alpha: Floats) -> Floats:
    """The photo with the subject's inner colours drawn outwards over its soft edge."""
    sure = (alpha > 0.95).astype(np.float32)
    weights = cv2.GaussianBlur(sure, (0, 0), 3)[..., None] + 1e-6
    inner = cv2.GaussianBlur(photo * sure[..., None], (0, 0), 3) / weights
    return np.where(sure[..., None] > 0, photo, inner).astype(np.float32)


def _lit(
    subject: Floats, alpha: Floats, background: Floats, random: np.random.Generator
) -> Floats:
    """The subject, part of the way to the brightness and tint of its new place."""
    inside = alpha > 0.5
    if not inside.any():
        return subject
    gain = (background.mean(axis=(0, 1)) + 20) / (subject[inside].mean(axis=0) + 20)
    part = random.uniform(0.0, 0.35)
    lit = subject * np.clip(gain, 0.5, 1.8) ** part
    return np.clip(lit, 0, 255).astype(np.float32)


def _shaded(background: Floats, alpha: Floats, random: np.random.Generator) -> Floats:
    """The ground below the subject, darker where it stands; not under those cut off."""
    rows, columns = np.nonzero(alpha > 0.5)
    if len(rows) == 0 or rows.max() >= len(alpha) - 3 or random.random() < 0.4:
        return background
    shadow = np.zeros(alpha.shape, np.float32)
    centre = (int(columns.mean()), int(rows.max()))
    half = max(2, int(np.ptp(columns) * 0.45))
    cv2.ellipse(shadow, centre, (half, max(1, half // 6)), 0, 0, 360, 1, -1)
    shadow = cv2.GaussianBlur(shadow, (0, 0), half / 8)
    return background * (1 - 0.45 * shadow[..., None])


def _photographed(mixed: Floats, random: np.random.Generator) -> Pixels:
    noisy = mixed + random.normal(0, random.uniform(1, 4), mixed.shape)
    photo = np.clip(noisy, 0, 255).astype(np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(78, 94))]
    file = cv2.imencode(".jpg", photo[..., ::-1], quality)[1]
    back = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(back[..., ::-1])

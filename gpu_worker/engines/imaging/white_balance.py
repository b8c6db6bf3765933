"""white-balance: pictures as under neutral light, or warmer, cooler, greener, pinker.

All of it is one gain per channel in linear light, as a camera does it: alpha, shapes
and detail stay what they are.

auto: the colour of the light by the second-order grey edge (van de Weijer, Gevers,
Gijsenij, "Edge-based color constancy", 2007): the strongest edges of a scene are
grey on the average, whatever its surfaces are.

manual: one unit of temperature is one mired away from daylight of 6504 K; one unit of
tint a 3000th beside the black body's curve in CIE 1960 (u, v), as in Adobe's DNG SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.base import Picture
from gpu_worker.engines.imaging import layers
from gpu_worker.pixels import Pixels

Gains = NDArray[np.float64]
"""(3,): what linear red, green and blue are multiplied by."""

WORKING_SIDE_PX = 400
# The norm's exponent: high enough that strong edges decide.
NORM = 6
DARKEST, BRIGHTEST = 4, 250
MOST_GAIN = 4.0
NEUTRAL_MIRED = 1e6 / 6504
TINT_UNIT = 1 / 3000

# IEC 61966-2-1: XYZ to linear sRGB, the weights of luminance, the transfer curve.
TO_RGB = np.array(
    [
        [3.2406, -1.5372, -0.4986],
        [-0.9689, 1.8758, 0.0415],
        [0.0557, -0.2040, 1.0570],
    ]
)
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def apply(
    picture: Picture, parameters: dict[str, Any], others: Mapping[str, Picture]
) -> Picture:
    """The picture in another light; `details` say the gains."""
    shown, gains = picture.pixels, np.ones(3)
    if parameters.get("mode", "auto") == "auto":
        gains = gains_of_light(light_of(shown))
        shown = with_white_highlights(shown, lit(shown, gains))
    shift = parameters.get("temperature", 0), parameters.get("tint", 0)
    if any(shift):
        gains = gains * gains_of_shift(*shift)
        shown = lit(shown, gains_of_shift(*shift))
    details = picture.details | {"gains": [round(float(one), 4) for one in gains]}
    return replace(picture, pixels=shown, details=details)


def lit(picture: Pixels, gains: Gains) -> Pixels:
    """The picture with its channels multiplied in linear light."""
    tables = _encoded(_LINEAR[:, None] * gains)
    made = picture.copy() if picture.ndim == 3 else layers.colours(picture).copy()
    for channel in range(3):
        made[..., channel] = cv2.LUT(made[..., channel], tables[:, channel].copy())
    return made


def with_white_highlights(before: Pixels, after: Pixels) -> Pixels:
    """`after`, where what was too bright to measure is not coloured by the gains.

    A channel that was clipped was brighter than it says: it does not fall below the
    darker of the other two. `after` is used up.
    """
    before = layers.colours(before)
    for channel in range(3):
        clipped = cv2.LUT(before[..., channel], _CLIPPED)
        others = [after[..., other] for other in range(3) if other != channel]
        least = cv2.multiply(cv2.min(*others), clipped, scale=1 / 255)
        after[..., channel] = cv2.max(after[..., channel], least)
    return after


def light_of(picture: Pixels) -> Gains:
    """The light's red, green and blue, of mean 1; all 1 where nothing tells it."""
    small, counts = _small(picture)
    linear = _LINEAR[small].astype(np.float32)
    strength = np.abs(cv2.Laplacian(cv2.GaussianBlur(linear, (0, 0), 1), -1))
    if not counts.any():
        return np.ones(3)
    light = np.mean(strength[counts].astype(np.float64) ** NORM, axis=0) ** (1 / NORM)
    return light / light.mean() if light.min() > 1e-6 else np.ones(3)


def gains_of_light(light: Gains) -> Gains:
    """What takes this light's colour away and keeps the luminance of grey."""
    gains = np.clip(1 / light, 1 / MOST_GAIN, MOST_GAIN)
    return gains / (LUMINANCE @ gains)


def gains_of_shift(temperature: float, tint: float) -> Gains:
    """What a neutral picture is multiplied by to look so much warmer and pinker."""
    light = _rgb(NEUTRAL_MIRED + temperature, tint) / _rgb(NEUTRAL_MIRED, 0)
    return light / (LUMINANCE @ light)


def _small(picture: Pixels) -> tuple[Pixels, NDArray[np.bool_]]:
    """(h, w, 3) of a working size, and which pixels count: neither clipped nor black
    nor at the edge of such, nor transparent."""
    height, width = picture.shape[:2]
    factor = min(1.0, WORKING_SIDE_PX / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    seen = layers.colours(small)
    counts = (seen.max(axis=2) < BRIGHTEST) & (seen.min(axis=2) > DARKEST)
    opacity = layers.alpha(small)
    if opacity is not None:
        counts &= opacity == 255
    counts = cv2.erode(counts.astype(np.uint8), np.ones((5, 5), np.uint8))
    return seen, counts > 0


def _rgb(mired: float, tint: float) -> Gains:
    """Linear sRGB of a light, of luminance 1.

    The black body by Krystek's approximation in (u, v) (Color Research & Application
    10, 1985; 1000 to 15 000 K, and smooth beyond), then `tint` across it.
    """
    u, v = _black_body(1e6 / mired)
    before, after = _black_body(1e6 / (mired - 1)), _black_body(1e6 / (mired + 1))
    along = np.array(after) - np.array(before)
    along /= np.hypot(*along)
    # Along goes to warmer, larger u; magenta is at lower v.
    u, v = np.array([u, v]) + tint * TINT_UNIT * np.array([along[1], -along[0]])
    x, y = 3 * u / (2 * u - 8 * v + 4), 2 * v / (2 * u - 8 * v + 4)
    return np.clip(TO_RGB @ [x / y, 1, (1 - x - y) / y], 1e-3, None)


def _black_body(kelvin: float) -> tuple[float, float]:
    t = kelvin
    u = (0.860117757 + 1.54118254e-4 * t + 1.28641212e-7 * t**2) / (
        1 + 8.42420235e-4 * t + 7.08145163e-7 * t**2
    )
    v = (0.317398726 + 4.22806245e-5 * t + 4.20481691e-8 * t**2) / (
        1 - 2.89741816e-5 * t + 1.61456053e-7 * t**2
    )
    return u, v


def _linear() -> NDArray[np.float64]:
    level = np.arange(256) / 255
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)


def _encoded(linear: NDArray[np.float64]) -> Pixels:
    linear = np.clip(linear, 0, 1)
    curve = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    level = np.where(linear <= 0.0031308, 12.92 * linear, curve)
    return np.round(level * 255).astype(np.uint8)


_LINEAR = _linear()
# How far each level counts as clipped, of 255.
_CLIPPED = np.clip((np.arange(256) - 235) * 12.75, 0, 255).astype(np.uint8)

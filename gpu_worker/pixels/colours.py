"""Any colour space and depth to sRGB of 8 bits, by the profile where there is one."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from gpu_worker.pixels.arrays import Pixels


def of_array(pixels: Pixels, mode: str, icc: bytes | None) -> Pixels:
    """As `of_image`, of an array with the channels of that Pillow mode."""
    if mode == "CMYK" or _fitting(icc, mode) is not None:
        image = Image.frombuffer(mode, pixels.shape[1::-1], pixels.tobytes())
        image.info["icc_profile"] = icc
        return of_image(image)
    if mode in ("LA", "RGBA") and (pixels[..., -1] == 255).all():
        pixels = pixels[..., :-1]
    if pixels.shape[2] >= 3:
        return np.ascontiguousarray(pixels)
    grey = cv2.cvtColor(np.ascontiguousarray(pixels[..., 0]), cv2.COLOR_GRAY2RGB)
    colours = np.asarray(grey, np.uint8)
    return colours if pixels.shape[2] == 1 else np.dstack([colours, pixels[..., 1]])


def kept(mode: str, icc: bytes | None) -> bytes | None:
    """The profile itself, if pixels of this mode can stay in it as they are: it is one
    of RGB, and not sRGB."""
    if mode not in ("RGB", "RGBA", "P", "PA"):
        return None
    return icc if _fitting(icc, mode) is not None else None


def of_image(image: Image.Image) -> Pixels:
    """RGB, or RGBA where the picture has alpha, whatever the file held."""
    alpha = None
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        alpha = clear.getchannel("A")
        # Grey stays grey: its profile speaks of one channel.
        image = image.convert("L") if image.mode in _GREYS else clear
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        icc = image.info.get("icc_profile")
        image = Image.fromarray(_eight_bits(np.asarray(image)))
        image.info["icc_profile"] = icc
    colours = _by_profile(image) or image.convert("RGB")
    if alpha is None or alpha.getextrema()[0] == 255:
        return np.asarray(colours)
    colours.putalpha(alpha)
    return np.asarray(colours)


def _eight_bits(grey: NDArray[Any]) -> Pixels:
    """Deep grey as uint8. A plain conversion cuts all above 255 to white.

    Integers have 16 bits, whatever is stored.
    """
    if grey.dtype.kind in "iu":
        whole: Pixels = (np.clip(grey, 0, 65535) // 257).astype(np.uint8)
        return whole
    grey = np.nan_to_num(grey, posinf=0, neginf=0)
    white = white_of_floats(float(grey.max(initial=0)), mean=float(grey.mean()))
    return np.clip(grey * (255 / white), 0, 255).astype(np.uint8)


def white_of_floats(most: float, *, mean: float) -> int:
    """Whether it is 1, 255 or 65535, by the values that there are. Some are above it:
    lights, and what sharpening leaves at edges."""
    whites = (white for white in (1, 255) if mean <= white and most <= 16 * white)
    return next(whites, 65535)


_GREYS = ("L", "LA", "1")
# What a profile of each colour space speaks of, by the mode of the picture.
_SPACES = {
    "RGB": ("RGB", "RGBA", "RGBX", "P", "PA"),
    "GRAY": _GREYS,
    "CMYK": ("CMYK",),
    "Lab": ("LAB",),
}
_BASE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}


def _by_profile(image: Image.Image) -> Image.Image | None:
    """RGB in sRGB by the colour profile. None: there is none that fits the picture."""
    profile = _fitting(image.info.get("icc_profile"), image.mode)
    if profile is None:
        return None
    base = image.convert(_BASE_MODES[profile.profile.xcolor_space.strip()])
    try:
        if base.mode == "L":
            shown = np.take(_levels(profile), np.asarray(base), axis=0)
            return Image.fromarray(shown)
        made = ImageCms.profileToProfile(base, profile, _srgb(), outputMode="RGB")
    except ImageCms.PyCMSError:
        return None
    return made


def _levels(profile: ImageCms.ImageCmsProfile) -> Pixels:
    """uint8 (256, 3): what each level of grey is. All at once LittleCMS takes longer
    for, and is 15 levels off where a curve is steep."""
    exactly = ImageCms.Flags.NOOPTIMIZE
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    made = ImageCms.profileToProfile(
        ramp, profile, _srgb(), outputMode="RGB", flags=exactly
    )
    levels: Pixels = np.asarray(made, np.uint8)[0]
    return levels


def _fitting(icc: bytes | None, mode: str) -> ImageCms.ImageCmsProfile | None:
    """The profile, if it speaks of pictures of this mode."""
    profile = _profile(icc, mode)
    if profile is None:
        return None
    space = profile.profile.xcolor_space.strip()
    return profile if mode in _SPACES.get(space, ()) else None


def _profile(icc: bytes | None, mode: str) -> ImageCms.ImageCmsProfile | None:
    """The profile, unless it is sRGB itself or cannot be read."""
    if mode == "LAB":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    if not icc:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    except OSError:
        return None
    return None if "sRGB" in (profile.profile.profile_description or "") else profile


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))

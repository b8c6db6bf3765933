"""What goes to a provider, and what comes back.

The client's files are decoded in a child and written anew: upright, without metadata,
no larger than providers take. What a provider sends is foreign, too: the worker only
carries the bytes, a child decodes them.
"""

from __future__ import annotations

import base64
import binascii
import io
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from gpu_worker import fetch
from gpu_worker.engines.base import Arrays, Input, Item, Picture
from gpu_worker.engines.hosted import options
from gpu_worker.engines.hosted.errors import HostedError, ProviderError
from gpu_worker.errors import InvalidImage

if TYPE_CHECKING:
    import numpy as np

    from gpu_worker.pixels import Pixels

LONGEST_SIDE_PX = 2048
LIMIT_BYTES = 50_000_000
QUALITY = 95
LARGEST_PNG_BYTES = 3_000_000
"""Google takes 20 MB for a whole request, four pictures in base64 included."""
FETCH_TIMEOUT_S = 120.0


class ResultUnreachable(HostedError):
    """The result could not be fetched from where the provider has put it."""

    code = "fetch_failed"
    unpaid = False
    again = True


# In the worker


def fetched(url: str, *, timeout_s: float) -> bytes:
    """The file at an address that a provider names, through the guard.

    Raises ResultUnreachable, and ProviderError for an address that is not allowed.
    """
    if url[:5].lower() == "data:":
        return _of_data_url(url)
    content = io.BytesIO()
    try:
        fetch.fetch(
            url,
            limit_bytes=LIMIT_BYTES,
            timeout_s=min(timeout_s, FETCH_TIMEOUT_S),
            sink=content.write,
            allowed_hosts=options.allowed_hosts(),
        )
    except fetch.UrlNotAllowed:
        what = "The provider's result is where nothing is read."
        raise ProviderError(what, again=False) from None
    except fetch.FetchFailed:
        raise ResultUnreachable from None
    return content.getvalue()


def _of_data_url(url: str) -> bytes:
    head, _, body = url.partition(",")
    if len(body) > 2 * LIMIT_BYTES:
        raise ProviderError("The provider's result is too large.")
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(body)
    return of_base64(body)


def of_base64(text: str) -> bytes:
    """Raises ProviderError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProviderError from None


def type_of(file: bytes) -> str:
    """The type of a file that a child of ours has written."""
    if file[:4] == b"\x89PNG":
        return "image/png"
    return "image/webp" if file[:4] == b"RIFF" else "image/jpeg"


def data_url(file: bytes) -> str:
    return f"data:{type_of(file)};base64,{base64.b64encode(file).decode()}"


def as_arrays(files: list[bytes], details: dict[str, Any]) -> Arrays:
    import numpy as np

    numbered = enumerate(files)
    arrays = {f"result_{n}": np.frombuffer(one, np.uint8) for n, one in numbered}
    return Arrays(arrays=arrays, details=details)


def files_of(arrays: dict[str, np.ndarray[Any, Any]], prefix: str) -> list[bytes]:
    """The files among the arrays whose names begin so, in their order."""
    names = [name for name in arrays if name.startswith(prefix)]
    names.sort(key=lambda name: int(name.removeprefix(prefix)))
    return [arrays[name].tobytes() for name in names]


# In a child


def prepared(item: Item, *, holes: bool = False) -> dict[str, np.ndarray[Any, Any]]:
    """The item's pictures as files that providers take; the mask white where to work,
    or a hole there. Raises InvalidImage."""
    import numpy as np

    pictures = [_small(one) for one in item.inputs if one.role == "image"]
    files = {f"picture_{n}": _file(one) for n, one in enumerate(pictures)}
    masks = [one for one in item.inputs if one.role == "mask"]
    if masks and pictures:
        files["mask_0"] = _mask(masks[0], pictures[0].shape[:2], holes=holes)
    return {name: np.frombuffer(file, np.uint8) for name, file in files.items()}


def finished(item: Item, made: Arrays) -> tuple[Picture, ...]:
    """The provider's files as pictures of the size that was asked for.

    Raises ProviderError: a damaged file is no fault of the client's.
    """
    files = files_of(made.arrays, "result_")
    try:
        return tuple(_picture(item, file, made.details) for file in files)
    except InvalidImage:
        raise ProviderError("The provider sent a picture that is damaged.") from None


def _picture(item: Item, file: bytes, details: dict[str, Any]) -> Picture:
    from gpu_worker import pixels
    from gpu_worker.engines.imaging import resize

    picture = Picture(pixels=pixels.decode(file), details=details)
    size = {n: item.parameters[n] for n in ("width", "height") if n in item.parameters}
    if not size:
        return picture
    wanted = size | {"fit": "cover", "enlarge": True}
    return resize.apply(picture, wanted, {})


def _small(given: Input) -> Pixels:
    from gpu_worker import pixels
    from gpu_worker.engines import geometry

    picture = pixels.decode(given.path)
    scale = LONGEST_SIDE_PX / max(picture.shape[:2])
    if scale >= 1:
        return picture
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return geometry.resized(picture, width, height)


def _file(picture: Pixels) -> bytes:
    from gpu_worker import pixels

    if picture.ndim == 3 and picture.shape[2] == 4:
        file = pixels.encode(picture, "png").data
        if len(file) <= LARGEST_PNG_BYTES:
            return file
        return pixels.encode(picture, "webp", quality=QUALITY).data
    return pixels.encode(picture, "jpeg", quality=QUALITY, subsample=False).data


def _mask(given: Input, size: tuple[int, int], *, holes: bool) -> bytes:
    """As large as the picture, and nothing in between."""
    import numpy as np

    from gpu_worker import pixels
    from gpu_worker.engines import geometry

    mask = geometry.resized(pixels.decode(given.path), size[1], size[0])
    shown = mask[..., :3].astype(np.uint16).mean(axis=2) if mask.ndim == 3 else mask
    if mask.ndim == 3 and mask.shape[2] == 4:
        shown = np.minimum(shown, mask[..., 3])
    white = np.where(shown >= 128, 255, 0).astype(np.uint8)
    if holes:
        return pixels.encode(np.dstack([white, white, white, 255 - white]), "png").data
    return pixels.encode(white, "png").data

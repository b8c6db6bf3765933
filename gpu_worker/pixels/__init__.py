"""Foreign bytes to pixels and pixels to bytes. Only for child processes.

arrays      pixels: uint8, (height, width[, channels])
formats     what is read and written
header      what a file says of itself, held against the limits
heif        whether such a file is whole
png         what such a file says of its colours in words of its own
icc         that as a profile
tiff        what Pillow has no mode for, by libvips
decoding    the file as pixels: upright, sRGB, 8 bits, no larger than asked for
scaling     what a decoder has shrunk, as large as it shall be
colours     any colour space and depth to sRGB
encoding    pixels as a file of each format
planes      a JPEG from a larger one, without a picture in between
libvips     the library, with no loaders but those that are used here

A caller sets limits on memory and time of the process as well: decoders have bugs.
"""

from gpu_worker.pixels.arrays import Pixels, flatten, without_hidden_colours
from gpu_worker.pixels.decoding import decode, read
from gpu_worker.pixels.encoding import Encoded, encode
from gpu_worker.pixels.formats import ANIMATED, CONTENT_TYPES, FORMATS, Format, form
from gpu_worker.pixels.header import (
    MOST_PIXELS,
    MOST_SIDE_PX,
    prepare,
    upright_size,
)

__all__ = [
    "ANIMATED",
    "CONTENT_TYPES",
    "FORMATS",
    "MOST_PIXELS",
    "MOST_SIDE_PX",
    "Encoded",
    "Format",
    "Pixels",
    "decode",
    "encode",
    "flatten",
    "form",
    "prepare",
    "read",
    "upright_size",
    "without_hidden_colours",
]

"""libvips, from its own wheel, with one thread and without its cache.

Loaders are blocked but for those named here: libvips knows many formats, and among them
are some that read other files or were never meant for a stranger's bytes.
"""

from __future__ import annotations

import logging
import os

# Read once, when the library starts: a slot is one core.
os.environ["VIPS_CONCURRENCY"] = "1"

import pyvips

MAJOR_MINOR = (8, 18)
LOADERS = tuple(f"VipsForeignLoad{name}" for name in ("Jpeg", "Png", "Tiff", "Webp"))

if (pyvips.version(0), pyvips.version(1)) != MAJOR_MINOR:
    # pyvips takes a system's libvips where it was built against one.
    raise ImportError(f"libvips {pyvips.version(0)}.{pyvips.version(1)} is another one")

# It tells of every step of a pipeline, and a damaged file can make it tell much.
logging.getLogger("pyvips").setLevel(logging.ERROR)
pyvips.cache_set_max(0)
pyvips.block_untrusted_set(True)
pyvips.operation_block_set("VipsForeignLoad", True)
for _loader in LOADERS:
    pyvips.operation_block_set(_loader, False)

Image = pyvips.Image
Error = pyvips.Error
BLOB = pyvips.GValue.blob_type
ARRAY = pyvips.GValue.array_int_type
INTEGER = pyvips.GValue.gint_type

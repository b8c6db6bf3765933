"""A network by the code that lies beside its weights, as transformers loads it.

Code of a folder is as powerful as the worker. It runs only if an administrator has
listed the folder with the hash of its code, and it is that code which runs: a copy,
taken before it is compared, whatever becomes of the folder. The hash to list:

    python -m gpu_worker.engines.birefnet.remote_code FOLDER
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from gpu_worker.engines import torchvision_shim
from gpu_worker.engines.birefnet import settings
from gpu_worker.errors import EngineUnavailable

CODE = ("*.py", "*.json")
TOO_OLD = ("all_tied_weights_keys", "meta tensors")
"""What transformers 5 says of code that was written before it."""


def wanted(folder: Path | None) -> bool:
    """Whether the folder is one of those whose code may run."""
    return folder is not None and folder.resolve() in settings.trusted()


def read(folder: Path, dtype: Any) -> Any:
    """The module. Raises EngineUnavailable."""
    pinned = settings.trusted()[folder.resolve()]
    with tempfile.TemporaryDirectory(prefix="nijika-code-") as name:
        copy = Path(name) / "model"
        _copy(folder, copy)
        if hash_of(copy) != pinned:
            raise EngineUnavailable(
                "The code beside the weights is not the code that was listed."
            )
        _refuse_code_from_elsewhere(copy)
        return _loaded(copy, dtype)


def hash_of(folder: Path) -> str:
    """SHA-256 of the folder's code: its .py and .json files with their names."""
    digest = hashlib.sha256()
    for path in sorted(_code(folder)):
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _code(folder: Path) -> list[Path]:
    return [path for pattern in CODE for path in folder.glob(pattern)]


def _copy(folder: Path, to: Path) -> None:
    to.mkdir()
    for path in _code(folder):
        shutil.copyfile(path, to / path.name)
    (to / settings.MODEL_FILE).symlink_to((folder / settings.MODEL_FILE).resolve())


def _refuse_code_from_elsewhere(folder: Path) -> None:
    """A configuration may name code of another repository, which no hash covers."""
    config = json.loads((folder / "config.json").read_text())
    named = json.dumps(config.get("auto_map", {}))
    if "--" in named or "auto_map" not in config:
        raise EngineUnavailable("The configuration names no code of its own folder.")


def _loaded(folder: Path, dtype: Any) -> Any:
    torchvision_shim.ensure()
    from transformers import AutoModelForImageSegmentation

    try:
        return AutoModelForImageSegmentation.from_pretrained(
            folder,
            trust_remote_code=True,
            local_files_only=True,
            use_safetensors=True,
            dtype=dtype,
        )
    except Exception as error:  # foreign code: it may raise anything
        if any(sign in str(error) for sign in TOO_OLD):
            text = (
                "This revision of the checkpoint's code is too old for transformers 5: "
                "take one of 2026-02-04 or later."
            )
            raise EngineUnavailable(text) from error
        raise


if __name__ == "__main__":
    sys.stdout.write(hash_of(Path(sys.argv[1])) + "\n")

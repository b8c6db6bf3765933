"""The files of the runs: inputs, results, and what lies between.

A `file:` location is used as it is. For the others, and for a device engine's arrays,
each run has a folder in memory, which is removed when the run is over; those of killed
workers are removed when the next one starts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu_worker.contract import InputFile, Output, ResultFile, Run
from gpu_worker.errors import StorageUnavailable
from gpu_worker.storage import Remote, local_path

if TYPE_CHECKING:
    import numpy as np

FOLDER = "nijika-worker-"


class Files:
    def __init__(self, scratch: Path, remote: Remote) -> None:
        _remove_leftovers(scratch)
        self._root = scratch / f"{FOLDER}{os.getpid()}"
        self._remote = remote

    def folder(self, run: Run) -> Path:
        """The run's own folder in memory."""
        folder = self._root / run.claim
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def read(self, run: Run, inputs: Sequence[InputFile]) -> list[dict[str, Any]]:
        """The inputs as a child gets them. Raises StorageUnavailable."""
        return [self._read(run, n, one) for n, one in enumerate(inputs)]

    def targets(self, run: Run, outputs: Sequence[Output]) -> list[dict[str, Any]]:
        """Where a child writes its results: in place, or where we upload from."""
        return [self._target(run, n, one) for n, one in enumerate(outputs)]

    def store(
        self,
        targets: Sequence[dict[str, Any]],
        outputs: Sequence[Output],
        results: Sequence[ResultFile],
    ) -> None:
        """Upload what is not in its place. Raises StorageUnavailable."""
        for result in results:
            target, output = targets[result.index], outputs[result.index]
            if not target["durable"]:
                path = Path(target["path"])
                self._remote.write(path, output.location, result.content_type)

    def clear(self, run: Run) -> None:
        if (folder := self._root / run.claim).exists():
            shutil.rmtree(folder, ignore_errors=True)

    def clear_all(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)

    def save_arrays(
        self, arrays: dict[str, np.ndarray[Any, Any]], folder: Path
    ) -> dict[str, str]:
        import numpy as np  # only where arrays travel

        paths = {name: str(folder / f"made-{name}.npy") for name in arrays}
        for name, array in arrays.items():
            np.save(paths[name], array, allow_pickle=False)
        return paths

    def load_arrays(
        self, paths: dict[str, str], folder: Path
    ) -> dict[str, np.ndarray[Any, Any]]:
        """What a child has decoded, from the run's own folder and nowhere else."""
        import numpy as np

        names = {name: folder / Path(path).name for name, path in paths.items()}
        return {n: np.load(path, allow_pickle=False) for n, path in names.items()}

    def _read(self, run: Run, position: int, one: InputFile) -> dict[str, Any]:
        path = local_path(one.location)
        if path is None:
            path = self.folder(run) / f"input-{position}"
            self._remote.read(one.location, path)
        elif not path.exists():
            raise StorageUnavailable("An input is not in the file store.")
        return {
            "role": one.role,
            "path": str(path),
            "content_type": one.content_type,
            "width_px": one.width_px,
            "height_px": one.height_px,
        }

    def _target(self, run: Run, position: int, output: Output) -> dict[str, Any]:
        path = local_path(output.location)
        if path is not None:
            return {"path": str(path), "durable": True}
        path = self.folder(run) / f"result-{position}"
        return {"path": str(path), "durable": False}


def _remove_leftovers(scratch: Path) -> None:
    for folder in scratch.glob(f"{FOLDER}*"):
        pid = folder.name.removeprefix(FOLDER)
        if not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)

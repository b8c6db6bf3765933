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
from gpu_worker.storage import Remote, local_path, put_in_place

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

    def targets(self, run: Run, outputs: Sequence[Output]) -> list[str]:
        """Where a child writes its results: beside their place, or in memory."""
        return [self._target(run, n, one) for n, one in enumerate(outputs)]

    def store(
        self,
        targets: Sequence[str],
        outputs: Sequence[Output],
        results: Sequence[ResultFile],
    ) -> None:
        """Bring what a child wrote to its place. Raises StorageUnavailable.

        Not done by the child: a disk or a network that takes its time costs no slot.
        """
        for result in results:
            location = outputs[result.index].location
            written, place = Path(targets[result.index]), local_path(location)
            if place is None:
                self._remote.write(written, location, result.content_type)
            else:
                put_in_place(written, place)

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

    def _target(self, run: Run, position: int, output: Output) -> str:
        place = local_path(output.location)
        if place is not None:
            return str(place.with_name(f".{place.name}.{run.claim}.part"))
        return str(self.folder(run) / f"result-{position}")


def _remove_leftovers(scratch: Path) -> None:
    for folder in scratch.glob(f"{FOLDER}*"):
        pid = folder.name.removeprefix(FOLDER)
        if not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)

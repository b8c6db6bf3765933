"""Write the lock files from pyproject.toml, all of one resolution, with hashes.

Each program has a lock of its own, so that a GPU host installs no web server and
`make demo` no test tools. One shared resolution keeps them from disagreeing in the
one virtual environment of a developer. Needs `uv` on the PATH.
"""

import subprocess
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCKS = {
    "nijika/requirements.txt": None,
    "gpu_worker/requirements.txt": "worker",
    "gpu_worker/requirements-gpu.txt": "gpu",
    "gpu_worker/requirements-fastsam.txt": "fastsam",
    "gpu_worker/requirements-onnx.txt": "onnx",
    "gpu_worker/requirements-remote.txt": "remote",
    "nijika/local/requirements.txt": "local",
    "tests/requirements.txt": "dev",
    "tests/requirements-engines.txt": "dev-engines",
    "bench/requirements.txt": "bench",
}
# Not locked: torch and what only its CUDA build brings, as the machine decides which
# build fits; and what ultralytics asks for but does not need to predict, of which the
# second OpenCV would overwrite ours.
LEFT_OUT = (
    *("torch", "triton", "cuda-bindings", "cuda-pathfinder", "cuda-toolkit"),
    *("nvidia-cublas", "nvidia-cuda-cupti", "nvidia-cuda-nvrtc", "nvidia-cuda-runtime"),
    *("nvidia-cudnn-cu13", "nvidia-cufft", "nvidia-cufile", "nvidia-curand"),
    *("nvidia-cusolver", "nvidia-cusparse", "nvidia-cusparselt-cu13"),
    *("nvidia-ml-py", "nvidia-nccl-cu13", "nvidia-nvjitlink", "nvidia-nvshmem-cu13"),
    *("nvidia-nvtx", "opencv-python", "matplotlib", "polars", "polars-runtime-32"),
    *("contourpy", "cycler", "fonttools", "kiwisolver", "pyparsing"),
)


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with tempfile.TemporaryDirectory() as folder:
        together = Path(folder, "all.txt")
        together.write_text(_resolve("pyproject.toml", "--all-extras"))
        for path, extra in LOCKS.items():
            wanted = Path(folder, "wanted.in")
            names = (
                project["optional-dependencies"][extra]
                if extra
                else project["dependencies"]
            )
            wanted.write_text("\n".join(names))
            lock = _resolve(
                str(wanted), "--generate-hashes", "--constraints", str(together)
            )
            (ROOT / path).write_text(lock)
            print(f"{path}: {lock.count('==')} packages")


def _resolve(*arguments: str) -> str:
    command = ["uv", "pip", "compile", "--quiet", "--python-version", "3.11"]
    command += ["--no-header", "--no-annotate", *arguments]
    command += [f"--no-emit-package={name}" for name in LEFT_OUT]
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


if __name__ == "__main__":
    main()

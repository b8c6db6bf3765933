"""What the errors of a device mean for the jobs that met them."""

import pytest

from gpu_worker.engines import devices
from gpu_worker.errors import DeviceLost, EngineFailed, OutOfMemory


class OutOfMemoryError(RuntimeError):
    """As torch calls its own."""


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED in cublasCreate"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
        OutOfMemory(),
    ],
)
def test_short_memory_is_known_by_its_error(error: Exception) -> None:
    assert isinstance(devices.error_of(error), OutOfMemory)


@pytest.mark.parametrize(
    "text",
    [
        "an illegal memory access was encountered",
        "device-side assert triggered",
        "unspecified launch failure",
        "uncorrectable ECC error encountered",
        "the launch timed out and was terminated",
    ],
)
def test_lost_device_is_known_by_its_error(text: str) -> None:
    assert isinstance(devices.error_of(RuntimeError(f"CUDA error: {text}")), DeviceLost)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
        RuntimeError("out of memory is what my caption says"),
        ValueError("CUDA out of memory"),
        EngineFailed("CUDA out of memory"),
    ],
)
def test_other_errors_say_nothing_of_the_device(error: Exception) -> None:
    assert devices.error_of(error) is None

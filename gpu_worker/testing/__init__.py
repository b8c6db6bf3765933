"""What an engine promises, as tests that its author runs with pytest.

    from gpu_worker.testing import Case, EngineContract, picture

    class TestMine(EngineContract):
        engine = "mine.engine:Mine"
        cases = (Case(images=(picture(1),)), Case(images=(picture(2, 90, 60),)))

contract   the tests
driving    an engine run as the worker runs it, in this process
"""

from gpu_worker.testing.contract import EngineContract
from gpu_worker.testing.driving import Case, Driver, RecordingHooks, picture

__all__ = ["Case", "Driver", "EngineContract", "RecordingHooks", "picture"]

"""upscale/realesrgan on tiny networks: tiles, names, and the whole platform."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpu_worker import pixels
from gpu_worker.engines.base import Input, Item
from gpu_worker.engines.realesrgan import files
from gpu_worker.engines.realesrgan.engine import Upscale
from gpu_worker.errors import EngineUnavailable, LimitExceeded, Stopped
from gpu_worker.settings import SettingsError
from gpu_worker.testing import Case, EngineContract, picture
from tests.engines.tiny import realesrgan as tiny
from tests.gpu_worker.engines.pictures import FORMATS, PHOTOS

torch = pytest.importorskip("torch")

from gpu_worker.engines.realesrgan import networks, tiling  # noqa: E402

TIGER = PHOTOS / "animal_white_tiger.jpg"
NAMES = ("RealESRGAN_x4plus", "RealESRGAN_x2plus", "realesr-general-x4v3")


class Hooks:
    def __init__(self, stop_at: int = 10**6) -> None:
        self.steps: list[tuple[int, int]] = []
        self._stop_at = stop_at

    def progress(self, item: Item, step: int, total: int, message: str = "") -> None:
        self.steps.append((step, total))

    def cancelled(self, item: Item) -> bool:
        return len(self.steps) >= self._stop_at

    def checkpoint(self, item: Item, text: str) -> None: ...


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    tiny.build(folder / "upscale")
    return folder


@pytest.fixture(scope="module", autouse=True)
def chosen(weights: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIJIKA_WEIGHTS", str(weights))
        yield weights / "upscale"


@pytest.fixture
def engine(chosen: Path) -> Upscale:
    made = Upscale()
    made.load()
    return made


def small(width: int = 150, height: int = 100) -> Any:
    return np.asarray(Image.open(TIGER).convert("RGB").resize((width, height)))


def item(folder: Path, picture: Any, **parameters: Any) -> Item:
    path = folder / "picture.png"
    path.write_bytes(pixels.encode(picture, "png").data)
    given = (Input(role="image", path=path, content_type="image/png"),)
    return Item(job_id="a", parameters=parameters, inputs=given)


def enlarged(engine: Upscale, one: Item, hooks: Any = None) -> Any:
    one = Item(
        job_id=one.job_id,
        parameters=one.parameters,
        inputs=one.inputs,
        arrays=Upscale.decode(one),
    )
    (made,) = engine.run([one], hooks or Hooks())
    return made if isinstance(made, Exception) else Upscale.encode(one, made)[0].pixels


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1, 3, 4, 6])
def test_picture_is_so_many_times_as_large_by_each_network(
    engine: Upscale, tmp_path: Path, name: str, scale: int
) -> None:
    one = item(tmp_path, small(31, 22), model=name, scale=scale)
    assert enlarged(engine, one).shape == (22 * scale, 31 * scale, 3)


@pytest.mark.parametrize("name", NAMES)
def test_tiles_leave_no_seam(chosen: Path, name: str) -> None:
    network = networks.read(name, "cpu")
    picture = small(91, 67)
    whole, parts = (
        tiling.enlarged(picture, network, 4, side, lambda *_: None).astype(int)
        for side in (1000, 32)
    )
    assert abs(whole - parts).max() <= 1


def test_parts_cover_a_side_once_and_begin_where_the_network_joins_pixels() -> None:
    seen = np.zeros(157, int)
    for part in tiling.parts(157, 40, 4):
        seen[part.place(1)] += 1
        assert part.begin % 4 == part.seen_begin % 4 == 0
        assert part.end - part.begin <= 44
    assert (seen == 1).all()


def test_progress_is_told_and_a_cancel_heard_at_every_tile(
    engine: Upscale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIJIKA_UPSCALE_TILE", "50")
    one = item(tmp_path, small(), model=NAMES[0], scale=2)
    hooks = Hooks()
    enlarged(engine, one, hooks)
    assert hooks.steps == [(number, 6) for number in range(6)]
    hooks = Hooks(stop_at=2)
    assert isinstance(enlarged(engine, one, hooks), Stopped)
    assert len(hooks.steps) == 2


def test_transparency_is_enlarged_and_what_it_hides_does_not_bleed(
    engine: Upscale, tmp_path: Path
) -> None:
    picture = np.zeros((40, 40, 4), np.uint8)
    picture[:, :20] = (255, 0, 255, 0)
    picture[:, 20:] = (250, 250, 250, 255)
    shown = enlarged(engine, item(tmp_path, picture, model=NAMES[0], scale=3))
    assert shown.shape == (120, 120, 4)
    assert shown[:, 100, 3].min() == 255
    assert shown[:, 10, 3].max() == 0
    seen = shown[shown[..., 3] > 100]
    assert abs(seen[:, 1].astype(int) - seen[:, 0]).max() < 12


def test_profile_and_metadata_come_along_where_asked(
    engine: Upscale, tmp_path: Path
) -> None:
    path = FORMATS / "jpeg_exif_orientation_6.jpg"
    given = (Input(role="image", path=path, content_type="image/jpeg"),)
    wanted = {"scale": 1, "icc": "keep", "strip_metadata": False}
    one = Item(job_id="a", parameters=wanted, inputs=given)
    arrays = Upscale.decode(one)
    assert arrays["icc"].size
    assert arrays["exif"].size


def test_what_would_be_too_large_is_refused_from_the_header(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    path.write_bytes(pixels.encode(np.zeros((3000, 4000, 3), np.uint8), "jpeg").data)
    given = (Input(role="image", path=path, content_type="image/jpeg"),)
    with pytest.raises(LimitExceeded, match="24000 x 18000"):
        Upscale.decode(Item(job_id="a", parameters={"scale": 6}, inputs=given))


def test_general_network_is_half_of_it_and_half_of_its_twin(
    chosen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "realesr-general-x4v3"
    both = networks.read(name, "cpu")
    monkeypatch.setenv("NIJIKA_UPSCALE_MODELS", str(tmp_path))
    tiny.pickled({"params": tiny.compact(0)}, tmp_path / f"{name}.pth")
    alone = networks.read(name, "cpu")
    bias = "body.0.bias"
    assert float(both.model.state_dict()[bias][0]) == pytest.approx(0.05)
    assert float(alone.model.state_dict()[bias][0]) == 0


def test_only_networks_with_a_file_may_be_chosen(
    chosen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert files.present() == ("RealESRGAN_x4plus", "RealESRGAN_x2plus", NAMES[2])
    assert Upscale.available() == ""
    monkeypatch.setenv("NIJIKA_WEIGHTS", str(tmp_path))
    assert Upscale.available() == "weights_missing"
    with pytest.raises(EngineUnavailable, match="RealESRGAN_x4plus"):
        networks.read("RealESRGAN_x4plus", "cpu")


class Bomb:
    """Code in a pickle: what a .pth file may be."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return open, (str(self.mark), "w")


def test_code_in_a_file_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIJIKA_UPSCALE_MODELS", str(tmp_path))
    mark = tmp_path / "ran"
    tiny.pickled({"params": Bomb(mark)}, tmp_path / "RealESRGAN_x4plus.pth")
    with pytest.raises(EngineUnavailable, match="could not be read"):
        networks.read("RealESRGAN_x4plus", "cpu")
    assert not mark.exists()


def test_file_of_something_else_is_said_to_be_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIJIKA_UPSCALE_MODELS", str(tmp_path))
    tiny.pickled({"weight": torch.zeros(3)}, tmp_path / "RealESRGAN_x4plus.pth")
    with pytest.raises(EngineUnavailable, match="no network for upscaling"):
        networks.read("RealESRGAN_x4plus", "cpu")


@pytest.mark.parametrize("value", ["0", "big", "-5"])
def test_tile_that_is_no_side_is_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIJIKA_UPSCALE_TILE", value)
    with pytest.raises(SettingsError, match="NIJIKA_UPSCALE_TILE"):
        files.tile_px()


class TestContract(EngineContract):
    engine = Upscale
    cases = (
        Case(images=(picture(1),), parameters={"scale": 2}),
        Case(images=(picture(2, 40, 30),), parameters={"scale": 3, "model": NAMES[2]}),
    )
    sizes = ((128, 96), (120, 90))

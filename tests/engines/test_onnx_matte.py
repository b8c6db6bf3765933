"""removebg/onnx: any network as a file, through the whole platform as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_worker import pixels
from gpu_worker.engines.base import Input, Item
from gpu_worker.engines.onnx_matte import settings
from gpu_worker.engines.onnx_matte.engine import Removebg
from gpu_worker.errors import EngineUnavailable
from gpu_worker.settings import SettingsError
from tests.engines.tiny import onnx_matte as tiny
from tests.gpu_worker.engines.pictures import Silent

pytest.importorskip("onnxruntime")

from gpu_worker.engines.onnx_matte import cutting


def red_on_green() -> Any:
    picture = np.full((90, 120, 3), (30, 160, 40), np.uint8)
    picture[20:60, 30:80] = (220, 40, 30)
    return picture


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Of a file with these properties, and these settings."""

    def made(**file: Any) -> Removebg:
        monkeypatch.setenv("NIJIKA_ONNX_MODEL", str(tmp_path / "red.onnx"))
        tiny.build(tmp_path / "red.onnx", **file)
        loaded = Removebg()
        loaded.load()
        return loaded

    return made


def cutout(engine: Removebg, picture: Any, folder: Path) -> Any:
    path = folder / "picture.png"
    path.write_bytes(pixels.encode(picture, "png").data)
    given = Input(role="image", path=path, content_type="image/png")
    ((made,),) = engine.run(
        [Item(job_id="a", parameters={}, inputs=(given,))], Silent()
    )
    return made


@pytest.mark.parametrize("logits", [False, True])
def test_what_the_network_finds_is_cut_out(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, logits: bool
) -> None:
    monkeypatch.setenv("NIJIKA_ONNX_OUTPUT", "logits" if logits else "probabilities")
    made = cutout(engine(logits=logits), red_on_green(), tmp_path)
    alpha = made.pixels[..., 3]
    assert (alpha[25:55, 35:75] == 255).all()
    assert alpha[70:].max() < 5
    assert (made.pixels[25:55, 35:75, :3] == (220, 40, 30)).all()
    assert made.details == {"subject_found": True, "uncertain": False}


def test_picture_without_a_subject_gets_no_mask_of_noise(
    engine: Any, tmp_path: Path
) -> None:
    green = np.full((60, 60, 3), (30, 160, 40), np.uint8)
    made = cutout(engine(), green, tmp_path)
    assert made.pixels[..., 3].max() < 5
    assert made.details == {"subject_found": False, "uncertain": True}


def test_transparency_of_the_picture_stays(engine: Any, tmp_path: Path) -> None:
    picture = np.dstack([red_on_green(), np.full((90, 120), 255, np.uint8)])
    picture[:40, :, 3] = 0
    made = cutout(engine(), picture, tmp_path)
    assert not made.pixels[:40, :, 3].any()
    assert (made.pixels[45:55, 40:70, 3] == 255).all()


def test_size_is_that_of_the_file_or_that_of_its_owner(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine()._network.size == (64, 64)
    monkeypatch.setenv("NIJIKA_ONNX_SIZE", "96x48")
    assert engine(side="side")._network.size == (96, 48)
    with pytest.raises(EngineUnavailable, match="64x64, not 96x48"):
        engine()


def test_normalisation_is_that_of_the_owner(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a network that is shown red less what is said, nothing is left."""
    monkeypatch.setenv("NIJIKA_ONNX_MEAN", "1,0,0")
    monkeypatch.setenv("NIJIKA_ONNX_STD", "1,1,1")
    made = cutout(engine(), red_on_green(), tmp_path)
    assert not made.details["subject_found"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NIJIKA_ONNX_SIZE", "large"),
        ("NIJIKA_ONNX_MEAN", "1,2"),
        ("NIJIKA_ONNX_STD", "a,b,c"),
        ("NIJIKA_ONNX_OUTPUT", "mask"),
    ],
)
def test_setting_that_cannot_be_read_is_named(
    name: str, value: str, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        engine(side="side")


def test_file_that_is_no_such_network_is_said_to_be_none(
    engine: Any, tmp_path: Path
) -> None:
    with pytest.raises(EngineUnavailable, match="one picture"):
        engine(channels=1)
    (tmp_path / "red.onnx").write_bytes(b"no network")
    with pytest.raises(EngineUnavailable, match="no ONNX file"):
        Removebg().load()


def test_without_a_file_the_engine_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIJIKA_WEIGHTS", str(tmp_path))
    assert Removebg.available() == "weights_missing"
    tiny.build(settings.model())
    assert Removebg.available() == ""


def test_colours_of_a_soft_edge_are_free_of_the_old_background() -> None:
    ramp = np.clip((np.arange(400, dtype=np.float32) - 190) / 20, 0, 1)
    alpha = np.repeat(ramp[None], 120, axis=0)
    red, green = np.float32([230, 25, 25]), np.float32([0, 255, 0])
    picture = alpha[..., None] * red + (1 - alpha[..., None]) * green
    made = cutting.foreground(picture.round().astype(np.uint8), alpha)
    soft = (alpha > 0.2) & (alpha < 0.9)
    assert abs(made - red)[soft].mean() < 0.6 * abs(picture - red)[soft].mean()
    assert abs(made - picture)[alpha == 1].max() <= 1

"""removebg/birefnet without the platform: the network, its files, its cut-outs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpu_worker.contract import Step
from gpu_worker.engines.base import Item
from gpu_worker.engines.birefnet import settings, sizing
from gpu_worker.engines.birefnet.engine import Removebg
from gpu_worker.errors import EngineUnavailable, Stopped
from gpu_worker.settings import SettingsError
from tests.engines.tiny import birefnet as tiny
from tests.gpu_worker.engines.pictures import LEMUR, PHOTOS

torch = pytest.importorskip("torch")

from gpu_worker.engines.birefnet import (  # noqa: E402
    colours,
    deformable,
    fitted,
    matting,
    network,
    running,
    swin,
    weights,
)

# Measured on the authors' implementation, commit 25cb930 of ZhengPeng7/BiRefNet: the
# names and shapes of its state, and what it makes of weights and pictures drawn as
# `drawn` does.
LARGE = "acbf22b9f4441cb7a524cf30344e028d9d3a917f8c45f748304d908f6f3d43de"
SMALL = "21fbcd6899bd52164eb47e7d0af30df38035302a1540caef7ffd6878bb5e8e3c"
PLACES = ((0, 0), (0, 223), (50, 60), (80, 112), (101, 7), (159, 0), (159, 223))
LOGITS = (1.5108, 2.0378, 1.8642, 0.3382, 1.9356, 2.2721, 1.4686)


class Hooks:
    def __init__(self, cancelled: tuple[str, ...] = ()) -> None:
        self.seen: list[tuple[str, int]] = []
        self._cancelled = cancelled

    def progress(self, item: Item, step: int, total: int, message: str = "") -> None:
        self.seen.append((item.job_id, step))

    def cancelled(self, item: Item) -> bool:
        return item.job_id in self._cancelled

    def checkpoint(self, item: Item, text: str) -> None: ...


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build(tmp_path_factory.mktemp("weights") / "birefnet")


@pytest.fixture
def engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Removebg:
    monkeypatch.setenv("NIJIKA_BIREFNET_MODEL", str(folder))
    monkeypatch.setenv("NIJIKA_BIREFNET_SIZE", f"{tiny.SIDE_PX}x{tiny.SIDE_PX}")
    made = Removebg()
    made.load()
    made.warm_up()
    return made


def photo(path: Path = LEMUR) -> Any:
    return np.asarray(Image.open(path).convert("RGB"))


def item(name: str, picture: Any) -> Item:
    return Item(job_id=name, parameters={}, arrays={"picture": picture})


# The network


@pytest.mark.parametrize(
    ("shape", "tensors", "parameters", "digest"),
    [
        (network.LARGE, 754, 220_176_498, LARGE),
        (network.TINY, 586, 44_313_720, SMALL),
    ],
)
def test_network_has_the_names_and_shapes_of_the_published_one(
    shape: Any, tensors: int, parameters: int, digest: str
) -> None:
    with torch.device("meta"):
        made = network.BiRefNet(shape)
    state = made.state_dict()
    lines = [f"{name} {tuple(one.shape)}" for name, one in sorted(state.items())]
    assert len(lines) == tensors
    assert sum(one.numel() for one in made.parameters()) == parameters
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == digest


def drawn() -> tuple[Any, Any]:
    """A small network with weights that do not depend on torch, and a picture."""
    shape = network.Shape(width=8, depths=(2, 2, 2, 2), heads=(1, 2, 2, 4), window=4)
    made = network.BiRefNet(shape).eval().requires_grad_(False)
    rng = np.random.default_rng(7)
    for name, value in sorted(made.state_dict().items()):
        if value.dtype.is_floating_point:
            numbers = rng.uniform(-1, 1, tuple(value.shape))
            if name.endswith("running_var"):
                numbers = 1 + numbers / 2
            elif value.ndim > 1 and "table" not in name:
                numbers *= (3 / max(1, np.prod(value.shape[1:]))) ** 0.5
            value.copy_(torch.from_numpy(numbers))
    picture = np.random.default_rng(8).uniform(-2, 2, (1, 3, 160, 224))
    return made, torch.from_numpy(picture).float()


def test_network_makes_what_the_authors_network_makes() -> None:
    made, picture = drawn()
    logits = made(picture)[-1]
    assert logits.shape == (1, 1, 160, 224)
    found = [float(logits[0, 0, row, column]) for row, column in PLACES]
    assert found == pytest.approx(LOGITS, abs=2e-4)


def test_folded_network_is_the_same_function() -> None:
    plain, picture = drawn()
    expected = plain(picture)[-1]
    folded = fitted.fit(plain, "cpu", torch.float32)
    assert torch.allclose(folded(picture)[-1], expected, atol=1e-5)


@pytest.mark.parametrize("side", [1, 3, 7])
def test_deformable_convolution_is_its_definition(side: int) -> None:
    rng = np.random.default_rng(side)
    x, weight = rng.normal(size=(1, 2, 5, 6)), rng.normal(size=(3, 2, side, side))
    offsets = rng.normal(0, 2, size=(1, 2 * side**2, 5, 6))
    modulators = rng.uniform(0, 2, size=(1, side**2, 5, 6))
    arrays = [torch.from_numpy(one).float() for one in (x, offsets, modulators, weight)]
    made = deformable.deform_conv2d(*arrays)
    expected = by_definition(x[0], offsets[0], modulators[0], weight)
    assert np.allclose(made[0], expected, atol=1e-4)


def by_definition(x: Any, offsets: Any, modulators: Any, weight: Any) -> Any:
    """Sum over taps of weight, modulator and the picture between pixels (equation 1 of
    arXiv 1811.11168); the picture is 0 beyond its sides."""
    side, (height, width) = weight.shape[-1], x.shape[1:]
    made = np.zeros((weight.shape[0], height, width))
    for row in range(height):
        for column in range(width):
            for tap in range(side**2):
                down = row + tap // side - side // 2 + offsets[2 * tap, row, column]
                right = column + tap % side - side // 2
                right += offsets[2 * tap + 1, row, column]
                seen = between(x, down, right) * modulators[tap, row, column]
                made[:, row, column] += weight[:, :, tap // side, tap % side] @ seen
    return made


def between(x: Any, down: float, right: float) -> Any:
    """Bilinear."""
    made = np.zeros(x.shape[0])
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            share = max(0, 1 - abs(down - row)) * max(0, 1 - abs(right - column))
            made += share * x[:, row, column]
    return made


def test_shifted_windows_do_not_join_opposite_ends_of_a_picture() -> None:
    """Each pixel of a shifted window sees only what is on its own side."""
    qkv = torch.zeros(1, 8, 8, 3)
    qkv[..., 2] = torch.arange(64.0).view(1, 8, 8)
    bias = torch.zeros(1, 16, 16)
    seen = swin.attend(qkv, torch.zeros(3), bias, 4, 2)[..., 0]
    corner = torch.arange(64.0).view(8, 8)[:2, :2].mean()
    assert torch.allclose(seen[0, :2, :2], corner)


# Files


def test_file_says_by_itself_what_network_it_has(folder: Path) -> None:
    read = weights.read(folder / "model.safetensors")
    assert read.shape == tiny.shape()
    expected = tiny.network()
    picture = torch.randn(1, 3, 64, 64)
    assert torch.equal(read(picture)[-1], expected(picture)[-1])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("decoder.conv_out1.0.bias"), "decoder.conv_out1"),
        (lambda state: state.update(more=torch.zeros(1)), "more"),
        (
            lambda state: state.update({"bb.norm1.bias": torch.zeros(3)}),
            "bb.norm1.bias",
        ),
        (lambda state: state.pop("bb.patch_embed.proj.weight"), "no BiRefNet"),
    ],
)
def test_file_that_does_not_fit_exactly_is_refused_by_name(
    change: Any, named: str, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    state = tiny.network().state_dict()
    change(state)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(EngineUnavailable, match=named):
        weights.read(tmp_path / "model.safetensors")


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\x08" * 100)
    with pytest.raises(EngineUnavailable):
        weights.read(tmp_path / "model.safetensors")


def test_engine_is_unavailable_until_there_are_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIJIKA_WEIGHTS", str(tmp_path))
    assert Removebg.available() == "weights_missing"
    tiny.build(tmp_path / "birefnet")
    assert Removebg.available() == ""


def test_name_of_a_hub_needs_a_pinned_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIJIKA_BIREFNET_MODEL", "ZhengPeng7/BiRefNet")
    for revision in ("", "main", "a" * 39):
        monkeypatch.setenv("NIJIKA_BIREFNET_REVISION", revision)
        with pytest.raises(SettingsError, match="NIJIKA_BIREFNET_REVISION"):
            settings.weights()
    monkeypatch.setenv("NIJIKA_BIREFNET_REVISION", "a" * 40)
    assert Removebg.available() == ""


def test_hub_that_cannot_be_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings.Weights(name="nobody/nothing", revision="a" * 40)
    with pytest.raises(EngineUnavailable, match="nobody/nothing"):
        weights.file_of(chosen)


# Sizes


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((1000, 1000), (1024, 1024)),
        ((4000, 1000), (2048, 512)),
        ((3000, 2000), (1248, 832)),
        ((10, 9000), (256, 2304)),
    ],
)
def test_dynamic_size_keeps_proportions_in_multiples_of_32(
    size: tuple[int, int], seen: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIJIKA_BIREFNET_SIZE", "dynamic")
    assert sizing.seen_size(*size, settings.sizing()) == seen


@pytest.mark.parametrize("text", ["1000x640", "0x32", "large", "1024", "dynamic:x"])
def test_size_that_the_network_cannot_take_is_refused_at_the_start(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIJIKA_BIREFNET_SIZE", text)
    with pytest.raises(SettingsError, match="NIJIKA_BIREFNET_SIZE"):
        settings.sizing()


# Cut-outs


def test_pictures_of_mixed_sizes_are_one_pass_and_each_as_if_alone(
    engine: Removebg,
) -> None:
    pictures = [photo(), photo()[:200, :90], photo(PHOTOS / "animal_white_tiger.jpg")]
    items = [item(str(number), one) for number, one in enumerate(pictures)]
    passes = counted(engine)
    hooks = Hooks()
    made = engine.run(items, hooks)
    assert passes == [3]
    assert ("2", 1) in hooks.seen
    for one, picture in zip(made, pictures, strict=True):
        assert one.arrays["rgba"].shape == (*picture.shape[:2], 4)
    (alone,) = engine.run(items[1:2], Hooks())
    difference = alone.arrays["rgba"].astype(int) - made[1].arrays["rgba"]
    assert abs(difference).max() <= 1


def counted(engine: Removebg) -> list[int]:
    """The sizes of the passes from now on."""
    passes: list[int] = []
    inner = engine._loaded.matting.network

    def network(pictures: Any) -> Any:
        passes.append(len(pictures))
        return inner(pictures)

    object.__setattr__(engine._loaded.matting, "network", network)
    return passes


def test_dynamic_sizes_share_a_pass_where_they_are_equal(
    engine: Removebg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIJIKA_BIREFNET_SIZE", "dynamic:320")
    items = [item("a", photo()), item("b", photo()[:, :100]), item("c", photo())]
    keys = [Removebg.batch_key(one) for one in items]
    assert keys[0] == keys[2] != keys[1]
    passes = counted(engine)
    made = engine.run(items, Hooks())
    assert sorted(passes) == [1, 2]
    assert made[1].arrays["rgba"].shape[1] == 100


def test_cancelled_picture_is_left_out_of_the_pass(engine: Removebg) -> None:
    passes = counted(engine)
    items = [item("a", photo()), item("b", photo())]
    made = engine.run(items, Hooks(cancelled=("a",)))
    assert isinstance(made[0], Stopped)
    assert made[1].arrays["rgba"].any()
    assert passes == [1]
    engine.run(items, Hooks(cancelled=("a", "b")))
    assert passes == [1]


def seen_by(logits: float) -> matting.Matting:
    """A network that says the same of every pixel."""

    def network(pictures: Any) -> Any:
        return torch.full((len(pictures), 1, *pictures.shape[2:]), logits)

    return matting.Matting(network=network, device="cpu", dtype=torch.float32)


def test_where_nothing_is_found_noise_is_not_stretched_to_a_mask() -> None:
    (cutout,) = seen_by(-4).cut_out([photo()], 64, 64)
    assert not cutout.subject_found
    assert cutout.rgba[..., 3].max() == round(255 / (1 + np.exp(4)))
    (cutout,) = seen_by(4).cut_out([photo()], 64, 64)
    assert cutout.subject_found


def test_transparency_of_the_picture_stays() -> None:
    picture = np.dstack([photo(), np.full(photo().shape[:2], 255, np.uint8)])
    picture[:100, :, 3] = 0
    (cutout,) = seen_by(20).cut_out([picture], 64, 64)
    assert not cutout.rgba[:100, :, 3].any()
    assert (cutout.rgba[100:, :, 3] == 255).all()
    assert (cutout.rgba[100:, :, :3] == picture[100:, :, :3]).all()


def test_picture_is_resized_as_the_weights_were_trained() -> None:
    """As Pillow's BILINEAR, larger and smaller."""
    seen: list[Any] = []

    def network(pictures: Any) -> Any:
        seen.append(pictures)
        return torch.zeros(1, 1, *pictures.shape[2:])

    made = matting.Matting(network=network, device="cpu", dtype=torch.float32)
    for size in ((128, 96), (1024, 992)):
        made.cut_out([photo()], *size)
        small = Image.fromarray(photo()).resize(size, Image.Resampling.BILINEAR)
        mean, deviation = np.array(matting.MEAN), np.array(matting.DEVIATION)
        expected = (np.asarray(small) / 255 - mean) / deviation
        found = seen.pop()[0].permute(1, 2, 0).numpy()
        assert abs(found - expected).max() < 2 / 255 / deviation.min()


def test_colours_of_a_soft_edge_are_free_of_the_old_background() -> None:
    """A red subject over green: nearer to red than what the photo shows."""
    ramp = ((torch.arange(400.0) - 190) / 20).clamp(0, 1)
    alpha = ramp.expand(1, 1, 120, 400).contiguous()
    red, green = (
        torch.tensor(c).view(1, 3, 1, 1) for c in ((0.9, 0.1, 0.1), (0, 1.0, 0))
    )
    picture = alpha * red + (1 - alpha) * green
    made = colours.foreground(picture, alpha)
    soft = (alpha > 0.2) & (alpha < 0.9)
    before = (picture - red).abs().mean(1, keepdim=True)[soft].mean()
    after = (made - red).abs().mean(1, keepdim=True)[soft].mean()
    assert after < 0.6 * before
    whole = alpha.expand_as(made) == 1
    assert torch.allclose(made[whole], picture[whole], atol=1e-5)


def test_means_are_those_of_a_sliding_window() -> None:
    x = torch.rand(1, 2, 9, 30)
    expected = torch.nn.functional.avg_pool2d(
        x, 5, stride=1, padding=2, count_include_pad=False
    )
    assert torch.allclose(colours._blurred(x, 5), expected, atol=1e-5)


def test_cut_out_is_seen_upright_and_in_the_size_asked_for(tmp_path: Path) -> None:
    from gpu_worker.engines.base import Input

    path = PHOTOS.parent / "formats" / "jpeg_exif_orientation_6.jpg"
    given = Input(role="image", path=path, content_type="image/jpeg")
    one = Item(
        job_id="a",
        parameters={"size": "preview"},
        inputs=(given,),
        steps=(Step(operation="encode", parameters={}),),
    )
    shown = Removebg.decode(one)["picture"]
    with Image.open(path) as image:
        assert shown.shape[0] / shown.shape[1] == pytest.approx(
            image.width / image.height, rel=0.02
        )
    assert shown.shape[0] * shown.shape[1] <= 250_000


def test_engine_can_be_unloaded_and_loaded_again(engine: Removebg) -> None:
    before = engine.run([item("a", photo())], Hooks())[0].arrays["rgba"]
    engine.unload()
    engine.load()
    assert (engine.run([item("a", photo())], Hooks())[0].arrays["rgba"] == before).all()


@pytest.mark.gpu
def test_kernels_make_what_plain_torch_makes() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    shape = network.Shape(width=64, depths=(2,) * 4, heads=(2, 4, 8, 16), window=12)
    plain = network.BiRefNet(shape).eval().requires_grad_(False).cuda()
    picture = torch.randn(2, 3, 256, 320, device="cuda")
    expected = plain(picture)[-1].sigmoid()
    fast = fitted.fit(plain, "cuda", torch.float16)
    made = running.StepByStep(fast)(picture.half()).float().sigmoid()
    assert (made - expected).abs().max() < 0.02

"""What options mean: imgproxy's spellings, long and short, and the older service's."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from jobs.onthefly import options, paths, sources
from jobs.onthefly.errors import BadRequest, SourceRefused
from jobs.onthefly.options import Rules
from jobs.onthefly.recipes import Wish

URL = base64.urlsafe_b64encode(b"https://example.org/mark.png").decode().rstrip("=")


def wish_of(text: str, *, extension: str = "", rules: Rules | None = None) -> Wish:
    return options.wish_of(text.split("/"), extension, rules or Rules())


def members(text: str) -> dict[str, Any]:
    return wish_of(text).recipe.members()


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("rs:fill:300:200:1:1", "resize:fill:300:200:1:1"),
        ("rs:fill:300:200:1:1:no", "resize:fill:300:200:true:t:no"),
        ("s:300:200:1", "size:300:200:1"),
        ("w:300/h:200", "width:300/height:200"),
        ("rt:force", "resizing_type:force"),
        ("mw:300/mh:200", "min-width:300/min-height:200"),
        ("mw:300/mh:200", "min_width:300/min_height:200"),
        ("z:2", "zoom:2:2"),
        ("el:1", "enlarge:true"),
        ("ex:1:so:0:10", "extend:1:so:0:10"),
        ("exar:1", "extend_aspect_ratio:1"),
        ("g:fp:0.2:0.8", "gravity:fp:0.2:0.8"),
        ("g:nowe:10:20", "gr:nowe:10:20"),
        ("c:0.5:200:no", "crop:0.5:200:no"),
        ("t:10:fff:1:0", "trim:10:ffffff:1"),
        ("pd:10:20", "padding:10:20:10:20"),
        ("ar:0", "auto_rotate:false"),
        ("rot:270", "rotate:270"),
        ("rot:450", "rotate:90"),
        ("rot:-90", "rotate:270"),
        ("fl:1:1", "flip:1:1"),
        ("bg:255:0:10", "background:ff000a"),
        ("bl:1.5", "blur:1.50"),
        ("sh:0.5", "sharpen:.5"),
        ("pix:8", "pixelate:8"),
        ("g:1", "greyscale:1"),
        ("g:true", "grayscale:t"),
        (
            f"wm:0.5:soea:10:10:0.2/wmu:{URL}",
            f"watermark_url:{URL}/watermark:.5:soea:10:10:.2",
        ),
        ("q:80", "quality:80"),
        ("fq:jpg:60:webp:70", "format_quality:webp:70:jpeg:60"),
        ("mb:20000", "max_bytes:20000"),
        ("jpgo:1", "jpeg_options:1"),
        ("webpo:lossless", "webp_options:lossless"),
        ("sm:0", "strip_metadata:f"),
        ("scp:0", "strip_color_profile:0"),
        ("f:webp", "ext:webp"),
        ("f:jpg", "format:jpeg"),
    ],
)
def test_options_long_and_short_ask_for_the_same(short: str, long: str) -> None:
    assert members(short) == members(long) != {}


def test_options_that_repeat_a_default_change_nothing() -> None:
    text = "rs:fit:0:0:0:0/g:ce/el:0/dpr:1/z:1/ar:1/q:0/bl:0/rot:360/pd:0/sm:1"
    assert members(text) == {}


def test_options_of_one_kind_take_the_last() -> None:
    assert members("w:300/w:200/q:10/q:") == {"width": 200}


def test_resize_leaves_what_it_does_not_name() -> None:
    assert members("w:300/rs:fill::200") == members("rs:fill:300:200")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("raw:1", "raw"),
        ("skp:jpg", "skp"),
        ("gr:0.5:000", "gr"),
        ("g:obj:face", "g"),
        ("msr:100", "msr"),
        ("fiu:abc", "fiu"),
        ("rs:cover:1:1", "rs"),
        ("w:-1", "w"),
        ("w:4097", "w"),
        ("w:1e3", "w"),
        ("w:٣", "w"),
        ("q:101", "q"),
        ("q:75.5", "q"),
        ("dpr:0", "dpr"),
        ("dpr:nan", "dpr"),
        ("z:inf", "z"),
        ("bl:-1", "bl"),
        ("rot:45", "rot"),
        ("bg:12345", "bg"),
        ("bg:256:0:0", "bg"),
        ("el:yes", "el"),
        ("f:svg", "svg|f"),
        ("f:best", "f"),
        ("fq:jpg", "fq"),
        ("wm:2", "wm"),
        ("wm:0.5", "watermark_url"),
        ("wmu:***", "watermark"),
        ("g:fp:2:0", "g"),
        ("w:1:2", "w"),
        ("pr:none", "none"),
        ("nonsense:1", "nonsense"),
    ],
)
def test_option_that_is_not_honoured_is_refused_by_name(text: str, word: str) -> None:
    with pytest.raises(BadRequest, match=word):
        wish_of(text)


def test_presets_apply_default_first_and_do_not_nest() -> None:
    rules = Rules(
        presets=(("default", "q:50"), ("small", "w:100/q:60"), ("deep", "pr:small"))
    )
    assert wish_of("bl:0", rules=rules).recipe.quality == 50
    assert wish_of("pr:small", rules=rules).recipe.members() == {
        "width": 100,
        "quality": 60,
    }
    with pytest.raises(BadRequest, match="deep"):
        wish_of("pr:deep", rules=rules)


def test_allow_list_binds_addresses_but_not_presets() -> None:
    rules = Rules(
        presets=(("small", "w:100"),), allowed=frozenset({"preset", "quality"})
    )
    assert wish_of("pr:small/q:60", rules=rules).recipe.width == 100
    with pytest.raises(BadRequest, match="'w'"):
        wish_of("w:100", rules=rules)


# Paths


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


SOURCE = "https://example.org/a b/ä.jpg?x=1@2"


@pytest.mark.parametrize(
    "spelling",
    [
        f"{encoded(SOURCE)}.webp",
        f"{encoded(SOURCE)[:9]}/{encoded(SOURCE)[9:]}.webp",
        "plain/https://example.org/a%20b/%C3%A4.jpg%3Fx=1%402@webp",
        "plain/https%3A%2F%2Fexample.org%2Fa%20b%2F%C3%A4.jpg%3Fx%3D1%402@webp",
    ],
)
def test_source_in_every_spelling_is_the_same(spelling: str) -> None:
    found = paths.described(f"/w:100/{spelling}")
    assert (found.source, found.extension) == (SOURCE, "webp")
    assert found.options == ("w:100",)


def test_source_needs_no_options_and_no_extension() -> None:
    found = paths.described(f"/{encoded('https://example.org')}")
    assert found == paths.Described(
        options=(), source="https://example.org", extension=""
    )


def test_slashes_that_a_proxy_has_merged_are_restored() -> None:
    split = paths.split("/img/account/sig/w:1/plain/http:/example.org/a//b")
    assert split.path == "/w:1/plain/http://example.org/a//b"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/w:100",
        "/plain/",
        "/plain/@jpg",
        "/w:100/plain/a@b@c",
        "/not base64",
        "/YWJj.jpg.png",
        "/a",
        "/%ff",
        "/plain/%ff%fe",
        "/" + "w:1/" * 65 + "YWJj",
    ],
)
def test_path_that_describes_no_picture_is_refused(path: str) -> None:
    with pytest.raises(BadRequest):
        paths.described(path)


@pytest.mark.parametrize(
    "raw",
    [
        "/img/",
        "/img/a",
        "/img/a/b",
        "/img//b/c",
        "/img/a//c",
        "/img/a/b/" + "c" * 13_000,
    ],
)
def test_path_without_its_parts_is_refused(raw: str) -> None:
    with pytest.raises(BadRequest):
        paths.split(raw)


@pytest.mark.parametrize(
    ("url", "is_listed"),
    [
        ("https://cdn.example.org/a.jpg", True),
        ("https://example.org/photos/a.jpg", True),
        ("https://example.org/private/a.jpg", False),
        ("https://cdn.example.org.evil.example/a.jpg", False),
        ("https://cdn.example.org@evil.example/a.jpg", False),
        ("http://cdn.example.org/a.jpg", False),
    ],
)
def test_source_must_begin_as_a_listed_one_if_any_is(
    settings: Settings, url: str, is_listed: bool
) -> None:
    settings.ONTHEFLY_SOURCES = [
        "https://cdn.example.org",
        "https://example.org/photos/",
    ]
    if is_listed:
        assert sources.read(url).text == url
    else:
        with pytest.raises(SourceRefused):
            sources.read(url)

import math

import pytest

from accounts import keys


@pytest.mark.parametrize("test", [False, True])
def test_key_made_is_well_formed_and_says_its_mode(test: bool) -> None:
    new = keys.make(test=test)
    assert new.secret.startswith("nj_test_" if test else "nj_live_")
    assert keys.is_well_formed(new.secret)
    assert new.secret.startswith(new.prefix)


def test_key_has_112_random_bits_beside_what_its_prefix_shows() -> None:
    hidden = keys.RANDOM_LENGTH - (keys.VISIBLE_LENGTH - len("nj_live_"))
    assert hidden * math.log2(len(keys.ALPHABET)) >= 112


def test_keys_made_differ() -> None:
    assert len({keys.make(test=False).secret for _ in range(100)}) == 100


def test_key_is_not_shown_by_repr() -> None:
    new = keys.make(test=False)
    assert new.secret not in repr(new)


def test_key_with_any_character_changed_is_malformed() -> None:
    secret = keys.make(test=False).secret
    for place in range(len(secret)):
        other = "b" if secret[place] == "a" else "a"
        assert not keys.is_well_formed(secret[:place] + other + secret[place + 1 :])


def test_key_with_the_other_mode_is_malformed() -> None:
    secret = keys.make(test=False).secret
    assert not keys.is_well_formed(secret.replace("live", "test"))


@pytest.mark.parametrize(
    "text",
    ["", "nj_live_", "nj_live_" + "a" * 30, "x" * 10_000, "nj_live_é" + "a" * 29],
)
def test_text_that_is_no_key_is_malformed(text: str) -> None:
    assert not keys.is_well_formed(text)


def test_key_with_anything_around_it_is_malformed() -> None:
    secret = keys.make(test=False).secret
    assert not keys.is_well_formed(secret + "\n")
    assert not keys.is_well_formed(" " + secret)

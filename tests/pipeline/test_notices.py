from __future__ import annotations

from typing import Any

import pytest

from pipeline.notices import NotifySettings, ended_badly, occasions, told
from pipeline.settings import SettingsError, load_settings


def summary(status: str = "green", failure: str = "", n_held: int = 0) -> dict[str, Any]:
    return {
        "night": "N",
        "sentence": f"{status}: so it is",
        "n_changed": 30,
        "guard": {"status": status},
        "publish": {"n_held": n_held},
        "failure": failure,
    }


def test_a_night_is_told_of_by_colour_and_failure() -> None:
    assert occasions(summary()) == occasions(summary("unknown")) == ()
    assert occasions(summary("amber")) == ("amber",)
    assert occasions(summary("red", "5 of 9 files")) == ("failed", "quarantine", "red")


def test_one_sentence_says_the_colour_what_is_held_and_what_failed() -> None:
    words = told(summary("red", "5 of 9 files were quarantined", 30))
    assert words.startswith("Night N: red: so it is; 30 objects changed; their classes are held")
    assert words.endswith("30 are held in all; 5 of 9 files were quarantined")
    assert "--release" not in told(summary("green", n_held=3))
    assert ended_badly("N", ValueError("two\nlines")).startswith("Night N failed: ValueError: two lines; ")
    assert ended_badly("N", KeyboardInterrupt()).startswith("Night N failed: KeyboardInterrupt; ")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"webhook_env": "https://hooks.example.org/secret"}, "name of an environment variable"),
        ({"blocks": ["observers"]}, "TYPE/NAME"),
        ({"events": ["blue"]}, "events"),
        ({"webhook": "X"}, "nearest valid key is webhook_env"),
    ],
)
def test_mistakes_in_who_is_told_are_explained(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_settings(NotifySettings, wrong, "site.toml")

"""Messages keep their beginning and their end, however long what they quote is."""

import pickle

import pytest

from llamafactory_ext.errors import DataError, ExtError, OptionError, brief

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("quoted", ["x" * 10**6, "x y" * 10**5, "x\n" * 3 + "y " * 10**5, "\u00e9" * 10**4])
def test_what_is_quoted_makes_no_message_endless(quoted: str) -> None:
    for error in (
        DataError(f"data.json, record 3: the key {quoted} is odd; rename it."),
        OptionError.listing("These options do not work:", [f"dataset={quoted} is not there; rename it."]),
    ):
        assert len(error.message) < 2500
        assert error.message.startswith(("data.json, record 3: the key", "These options do not work:\n  - dataset="))
        assert error.message.endswith("rename it.")
        assert "characters ...]" in error.message
        assert brief(error.message) == error.message == str(error) == pickle.loads(pickle.dumps(error)).message


@pytest.mark.parametrize("text", ["", "short", "/a/folder" * 30, "words " * 190, "many lines\n" * 500])
def test_other_messages_stay_as_they_are(text: str) -> None:
    assert ExtError(text).message == text

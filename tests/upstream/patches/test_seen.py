"""A clone is called mixed only where its files fit no commit that was seen."""

from __future__ import annotations

import pytest

from llamafactory_ext.upstream.patches.seen import mixed, seen

pytestmark = pytest.mark.fast

KNOWN = seen()
MAIN = "0.9.6.dev0"


@pytest.mark.parametrize("state", KNOWN)
def test_every_state_that_was_seen_is_whole(state: str) -> None:
    assert mixed(KNOWN[state], state.partition(" at ")[0]) == ""


def test_code_that_nobody_has_seen_is_no_mixture() -> None:
    for name in KNOWN[MAIN]:
        assert mixed(KNOWN[MAIN] | {name: "newer"}, MAIN) == ""


def test_a_version_that_nobody_has_seen_is_no_mixture() -> None:
    assert mixed(KNOWN["0.9.5"], "0.9.7") == ""


def test_a_release_with_files_of_a_clone() -> None:
    changed = [name for name in KNOWN[MAIN] if KNOWN[MAIN][name] != KNOWN["0.9.5"].get(name)]
    assert len(changed) > 5
    for name in changed:
        said = mixed(KNOWN["0.9.5"] | {name: KNOWN[MAIN][name]}, "0.9.5")
        assert said == f"states version 0.9.5, but has the code of {MAIN} in {name}"


def test_a_clone_with_an_old_file() -> None:
    """The function that a late commit changed, in the state of the release."""
    first, last = "llamafactory.hparams.parser._parse_infer_args", "llamafactory.webui.chatter.WebChatModel"
    for name in (first, last):
        said = mixed(KNOWN[MAIN] | {name: KNOWN["0.9.5"][name]}, MAIN)
        assert said.startswith(f"states version {MAIN}, but has the code of 0.9.5")
        assert name in said

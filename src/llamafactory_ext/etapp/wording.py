"""Whose words a model reads: ours, or those of a user's checkout, whose constants are read and never imported."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import DataError
from . import prompts
from .calls import TIME
from .cases import Case
from .checkout import Checkout
from .clone_form import check_template
from .prompts import Strategy
from .published_sentences import published_sentences, tree_of
from .registry import ALL, FINDERS
from .sandbox import Setting
from .world import World

_MODULES = {
    "given": "Inference/prompts/generation_prompt.py",
    "retrieval": "Inference/prompts/generation_retrieval_prompt.py",
}
_PLACES = (
    *("user_profile", "preferences", "user_status", "available_tool_descriptions", "available_tool_names", "query"),
)
_NAMES = {"fc": "FC", "react": "REACT", "e-react": "E_REACT"}


class Wording(Protocol):
    """The texts of one origin."""

    @property
    def name(self) -> str:
        """Whose words they are: ours, or checkout."""

    @property
    def configs(self) -> Mapping[str, Mapping[str, Any]]:
        """Of tools that have other descriptions than ours."""

    @property
    def sentences(self) -> Mapping[str, str]:
        """What the published loop says between replies; see `prompts.SENTENCES`."""

    @property
    def digest(self) -> str:
        """A hash of all words, documents of tools among them: a run goes on with the same alone."""

    def opening(
        self, world: World, case: Case, setting: Setting, strategy: Strategy, tools: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Return the system text and the user's words."""

    def go_on(self, case: Case, setting: Setting) -> str:
        """Return what follows the plan of E-ReAct."""


@dataclass(frozen=True)
class Ours:
    """Our own words."""

    name: str = "ours"
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sentences: Mapping[str, str] = field(default_factory=lambda: prompts.SENTENCES)

    @property
    def digest(self) -> str:
        """See `Wording`."""
        return _digest(
            [prompts.GO_ON, prompts.FEEDBACK, dict(self.sentences), [spec.config() for spec in ALL.values()]]
        )

    def opening(
        self, world: World, case: Case, setting: Setting, strategy: Strategy, tools: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """See `Wording`."""
        return prompts.opening(world, case, setting, strategy, [dict(tool) for tool in tools])

    def go_on(self, case: Case, setting: Setting) -> str:
        """See `Wording`."""
        return prompts.GO_ON


OURS = Ours()


@dataclass(frozen=True)
class Published:
    """The words of a checkout.

    Attributes:
        texts: by setting and the constant's name.
        configs: of all tools.
        sentences: of the loop.
        name: checkout.
    """

    texts: Mapping[str, Mapping[str, str]]
    configs: Mapping[str, Mapping[str, Any]]
    sentences: Mapping[str, str]
    name: str = "checkout"

    @property
    def digest(self) -> str:
        """See `Wording`."""
        return _digest([self.texts, self.configs, dict(self.sentences)])

    def opening(
        self, world: World, case: Case, setting: Setting, strategy: Strategy, tools: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """See `Wording`; ReAct's system text ends with its example."""
        kind = ("RETRIEVAL_" if setting == "retrieval" else "") + _NAMES[strategy]
        texts = self.texts[setting]
        domains = dict.fromkeys(ALL[name].domain for name in case.given if name in ALL)
        filled = texts[f"{kind}_SYS_PROMPT"].format(
            user_profile=world.profile,
            preferences=[world.preferences[domain] for domain in domains if domain],
            user_status={"user location": f"{world.city}:{case.place}", "time": self._stamp(case)},
            available_tool_descriptions=str(self.tools(case, setting)),
            available_tool_names=", ".join(case.given),
        )
        if strategy == "react":
            filled += self._example(setting)
        asked = texts[f"{kind}_USER_PROMPT"].format(query=case.query)
        return [{"role": "system", "content": filled}, {"role": "user", "content": asked}]

    def go_on(self, case: Case, setting: Setting) -> str:
        """See `Wording`; it ends with the example."""
        names = ", ".join(case.given) if setting == "given" else ""
        return self.texts["given"]["EXEC_PROMPT"].format(available_tool_names=names) + self._example(setting)

    def tools(self, case: Case, setting: Setting) -> list[Mapping[str, Any]]:
        """Return the tools of function calling at the start, duplicates kept."""
        return [self.configs[name] for name in self._names(case, setting) if name in self.configs]

    def _names(self, case: Case, setting: Setting) -> Sequence[str]:
        return tuple(FINDERS) if setting == "retrieval" else case.given

    def _example(self, setting: Setting) -> str:
        return self.texts[setting][("RETRIEVAL_" if setting == "retrieval" else "") + "REACT_ONESHOT_EXAMPLE"]

    def _stamp(self, case: Case) -> str:
        return case.stamp or case.now.strftime(TIME)


def _digest(words: Any) -> str:
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:16]


def published(checkout: Checkout) -> Published:
    """Read the words of a checkout.

    Raises:
        DataError: files are missing, or hold no such texts.
    """
    texts = {setting: _constants(checkout, name) for setting, name in _MODULES.items()}
    wanted = {
        "given": ("FC", "REACT", "E_REACT"),
        "retrieval": ("RETRIEVAL_FC", "RETRIEVAL_REACT", "RETRIEVAL_E_REACT"),
    }
    needed = {
        setting: [
            *(f"{kind}_{part}_PROMPT" for kind in kinds for part in ("SYS", "USER")),
            f"{kinds[1]}_ONESHOT_EXAMPLE",
        ]
        for setting, kinds in wanted.items()
    }
    needed["given"].append("EXEC_PROMPT")
    missing = [name for setting, names in needed.items() for name in names if name not in texts[setting]]
    configs = _configs(checkout)
    missing += [f"the config of {name}" for name in ALL if name not in configs]
    if missing:
        raise DataError(
            f"--prompts checkout: {checkout.folder} lacks {', '.join(missing[:5])}; complete the checkout."
        )
    for setting, names in needed.items():
        for name in names:
            if not name.endswith("_ONESHOT_EXAMPLE"):
                check_template(texts[setting][name], _PLACES, f"{_MODULES[setting]}, {name}")
    return Published(texts, configs, published_sentences(checkout))


def _constants(checkout: Checkout, name: str) -> dict[str, str]:
    """Return the texts that a module assigns to names; nothing of it is run."""
    found: dict[str, str] = {}
    for node in tree_of(checkout, name).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found |= {target.id: node.value.value for target in node.targets if isinstance(target, ast.Name)}
    return found


def _configs(checkout: Checkout) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted((checkout.folder / "toolkit").glob("*/config.json")):
        listed = checkout.json(path.relative_to(checkout.folder).as_posix())
        for config in listed if isinstance(listed, list) else [listed]:
            try:
                found[str(config["function"]["name"])] = config
            except (TypeError, KeyError):
                raise DataError(
                    f"{path} holds something that is no tool: {json.dumps(config)[:80]}; get the file again."
                ) from None
    return found

"""`llamafactory-ext importance`: look at an importance file without training."""

from __future__ import annotations

from pathlib import Path

from ..checkpoint.own import claim, own_file
from ..citi.importance_file import Importance as ImportanceFile
from .words import refuse_numbers


class Importance:
    """Show what CITI found important and what it would choose."""

    def show(self, file: str, top: float = 0.2, bottom: float = 0.1) -> str:
        """Show the ranking of all components by tool importance and what the ratios choose.

        Args:
            file: an importance.json that a CITI run wrote.
            top: share of components that get MOLoRA.
            bottom: share of components that are tuned in full; 0 for none.
        """
        refuse_numbers("importance", whole={}, real={"top": (top, 0), "bottom": (bottom, 0)})
        importance = ImportanceFile.load(Path(str(file)))
        selection = importance.select(top, bottom)
        tool, general = importance.tool_scores(), importance.general_scores()
        width = max(map(len, tool))
        lines = [
            f"{importance.base}: {selection.total} linear components, "
            + ", ".join(f"{name} ({task.mark}, {task.examples} examples)" for name, task in importance.tasks.items()),
            f"{'component':<{width}}  {'M_h (tool)':>11}  {'C_h (general)':>13}  role",
        ]
        for name in sorted(tool, key=lambda name: -tool[name]):
            role = "MOLoRA" if name in selection.adapted else "tuned in full" if name in selection.tuned else "frozen"
            lines.append(f"{name:<{width}}  {tool[name]:>11.5f}  {general[name]:>13.5f}  {role}")
        if selection.displaced:
            lines.append(f"In both shares, and so MOLoRA only: {', '.join(selection.displaced)}.")
        return "\n".join(lines + importance.remarks(top, bottom))

    def plot(self, file: str, out: str = "importance.png", top: float = 0.2, bottom: float = 0.1) -> str:
        """Draw the map of tool and general importance over layers and kinds of linears.

        Args:
            file: an importance.json that a CITI run wrote.
            out: the PNG.
            top: share of components that get MOLoRA.
            bottom: share of components that are tuned in full; 0 for none.
        """
        from ..figures.run import importance_map

        refuse_numbers("importance", whole={}, real={"top": (top, 0), "bottom": (bottom, 0)})
        claim([Path(str(out))], inputs=[Path(str(file))])
        importance = ImportanceFile.load(Path(str(file)))
        selection = importance.select(top, bottom)
        with own_file(Path(str(out))) as staged, staged.open("wb") as picture:
            importance_map(
                importance.tool_scores(), importance.general_scores(), selection.adapted, selection.tuned, picture
            )
        return f"Written: {out}"

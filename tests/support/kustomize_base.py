"""What of deploy/kustomize is written from the chart: the operator's objects, and the definitions.

The chart stays the one source of what the operator needs. `make kustomize` writes the files anew,
and so does `make chart` where there is a Helm; a test holds them in step.
"""

import re
import tempfile
from pathlib import Path
from typing import Final

from support import tools
from support.chart import NAMESPACE, RELEASE, Helm
from support.chart_files import CRDS, ROOT
from support.helm import CHART

__all__ = ["BASE", "DIRECTORY", "EXAMPLE", "written"]

DIRECTORY: Final = ROOT / "deploy" / "kustomize"
BASE: Final = DIRECTORY / "base"
EXAMPLE: Final = DIRECTORY / "example"

_HEAD: Final = "# Generated from charts/springline by `make kustomize`; changes here are lost.\n"
# Helm's own words: where a template comes from, and labels that say who manages an object.
_OF_HELM: Final = re.compile(
    r"(?m)^(?:# Source: .*| +app\.kubernetes\.io/managed-by: .*| +helm\.sh/chart: .*)\n"
)
# The definitions are in a base of their own. What `helm test` runs has no meaning here.
_VALUES: Final = {"crds": {"install": False}, "tests": {"enabled": False}}


def written(helm: Helm) -> dict[Path, str]:
    """Return what is written from the chart, as it should be, by its path in `DIRECTORY`."""
    rendered = helm.run("template", RELEASE, CHART, f"--namespace={NAMESPACE}", values=_VALUES)
    definitions = {
        Path("crds", path.name): path.read_text(encoding="utf-8")
        for path in sorted(CRDS.glob("*.yaml"))
    }
    return {**definitions, Path("base", "operator.yaml"): _HEAD + _OF_HELM.sub("", rendered)}


def main() -> None:
    """Write the files, or say that there is no Helm."""
    try:
        program = tools.helm4()
    except tools.ToolMissing as error:
        print(f"deploy/kustomize was not written anew: {error}.")
        return
    with tempfile.TemporaryDirectory() as directory:
        expected = written(Helm(program=program, directory=Path(directory)))
    for path in (DIRECTORY / "crds").glob("springline.dev_*.yaml"):
        if path.relative_to(DIRECTORY) not in expected:
            path.unlink()
    for path, text in expected.items():
        (DIRECTORY / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

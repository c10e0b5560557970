"""The generated pages below docs/reference: `make reference` writes them, nobody edits them."""

from pathlib import Path
from typing import Final

from springline import cli
from springline.api import crds
from springline.plugin import cli as plugin_cli
from support import cli_pages, model_pages

__all__ = ["DIRECTORY", "written"]

DIRECTORY: Final = Path(__file__).parents[2] / "docs" / "reference"

_CLI: Final = f"""\
# Command line

{model_pages.GENERATED}

An option on the command line counts more than its environment variable. Where an option may be
repeated, the variable has the values separated by spaces, and files by colons. `--help` of each
command says the same, and `springline --version` which one it is.
"""


def written() -> dict[str, str]:
    """Return what the files should hold, by their names."""
    pages = {f"{kind.lower()}.md": model_pages.page(kind) for kind in crds.KINDS}
    own = cli_pages.sections(cli.main, "springline")
    plugin = cli_pages.sections(plugin_cli.main, "kubectl springline")
    return {**pages, "cli.md": "\n".join((_CLI, own, plugin))}


def main() -> None:
    """Write the files."""
    DIRECTORY.mkdir(exist_ok=True)
    expected = written()
    for path in DIRECTORY.glob("*.md"):
        if path.name not in expected:
            path.unlink()
    for name, text in expected.items():
        (DIRECTORY / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""What the site of the documentation has beyond the pages of docs/: hooks of its generator.

The pages are written for the plain view of a repository, where a link may lead to any file. On the
site there are only pages, so the pages that lie elsewhere are taken in, and links are led to where
their file is then: to a page of the site, or into the repository. See properdocs.yml.
"""

import posixpath
import re
from pathlib import Path
from typing import Any, Final

from properdocs.config.defaults import ProperDocsConfig
from properdocs.structure.files import File, Files
from properdocs.structure.pages import Page
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]  # has no types

__all__ = ["ROOT", "TAKEN_IN", "on_config", "on_files", "on_page_markdown", "rewritten"]

ROOT: Final = Path(__file__).parents[2]

TAKEN_IN: Final = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "charts/springline/README.md": "chart.md",
    "examples/README.md": "examples.md",
    "tests/README.md": "tests.md",
}
"""Pages outside of docs/, and what they are called on the site."""

_DOCS: Final = "docs"
_COLOURS: Final = "css/code.css"
_STYLES: Final = {"light": "default", "dark": "github-dark"}
_NOT_PROSE: Final = r"^(?P<indent> *)```.*?^(?P=indent)```$|`[^`\n]*`"
_LINK: Final = re.compile(
    rf"{_NOT_PROSE}|(?P<before>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)",
    re.MULTILINE | re.DOTALL,
)


def on_config(config: ProperDocsConfig) -> ProperDocsConfig:
    """Make anchors of headings as repositories show them, and name our style sheets."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = _anchor
    config.extra_css = ["css/site.css", _COLOURS]
    return config


def on_files(files: Files, *, config: ProperDocsConfig) -> Files:
    """Take in the pages that lie elsewhere, and the colours of code."""
    for path, uri in TAKEN_IN.items():
        if (ROOT / path).exists():
            text = (ROOT / path).read_text(encoding="utf-8")
            files.append(File.generated(config, uri, content=text))
    files.append(File.generated(config, _COLOURS, content=_colours()))
    return files


def on_page_markdown(
    markdown: str,
    *,
    page: Page,
    config: ProperDocsConfig,
    files: Files,  # noqa: ARG001 - as the generator calls it
) -> str:
    """Lead the links of a page to where their files are on the site."""
    return rewritten(markdown, page.file.src_uri, config.repo_url or "")


def rewritten(markdown: str, uri: str, repository: str) -> str:
    """Return a page of the site with its links led to where their files are.

    Without a `repository`, a link to what is not on the site becomes text that names the file.
    """
    here = {taken: path for path, taken in TAKEN_IN.items()}.get(uri, f"{_DOCS}/{uri}")

    def led(match: re.Match[str]) -> str:
        target = match["target"]
        if target is None or re.match(r"[a-z]+:|#", target):
            return match[0]
        file, _, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(here), file))
        if (there := _on_site(path)) is not None:
            link = posixpath.relpath(there, posixpath.dirname(uri) or ".")
        elif repository:
            link = f"{repository.rstrip('/')}/tree/main/{path}"
        else:
            title = f"{path} in the repository"
            return f'<span class="in-repository" title="{title}">{match["text"]}</span>'
        fragment = f"#{anchor}" if anchor else ""
        return f"{match['before']}[{match['text']}]({link}{fragment})"

    return _LINK.sub(led, markdown)


def _on_site(path: str) -> str | None:
    if path.startswith(f"{_DOCS}/"):
        return path.removeprefix(f"{_DOCS}/")
    # The front page of the repository and that of the site say the same.
    return "README.md" if path in ("README.md", _DOCS) else TAKEN_IN.get(path)


def _anchor(heading: str, separator: str, **_: Any) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)


def _colours() -> str:
    themes = {
        f'[data-bs-theme="{theme}"] .highlight': HtmlFormatter(style=style)
        for theme, style in _STYLES.items()
    }
    return "\n".join(formatter.get_style_defs(where) for where, formatter in themes.items())

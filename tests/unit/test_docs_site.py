"""The documentation as a site: what it adds to the pages, and that it needs nobody else."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import docs_site
from support.docs_site import ROOT

REPOSITORY = "https://example.com/springline"
FETCHED = re.compile(r"""(?:src=|<link[^>]* href=|url\(|@import )["']?(?:https?:)?//[^"')\s>]+""")


@pytest.mark.parametrize(
    ("uri", "written", "led"),
    [
        pytest.param("a.md", "[b](b.md#c)", "[b](b.md#c)", id="a page beside it stays"),
        pytest.param("a.md", "[c](#d)", "[c](#d)", id="a heading of the page stays"),
        pytest.param(
            "a.md", "[w](https://w.example)", "[w](https://w.example)", id="elsewhere stays"
        ),
        pytest.param("r/a.md", "![p](../i/p.svg)", "![p](../i/p.svg)", id="a picture stays"),
        pytest.param("a.md", "[e](../examples/README.md)", "[e](examples.md)", id="one taken in"),
        pytest.param(
            "r/a.md", "[e](../../examples/README.md#x)", "[e](../examples.md#x)", id="below"
        ),
        pytest.param(
            "examples.md", "[i](../docs/install.md)", "[i](install.md)", id="from one taken in"
        ),
        pytest.param("contributing.md", "[s](SECURITY.md)", "[s](reporting.md)", id="between two"),
        pytest.param("a.md", "[r](../README.md)", "[r](README.md)", id="the front page is one"),
        pytest.param(
            "a.md",
            "[t](../examples/tls)",
            f"[t]({REPOSITORY}/tree/main/examples/tls)",
            id="the rest",
        ),
        pytest.param("a.md", "`[t](../examples/tls)`", "`[t](../examples/tls)`", id="code stays"),
        pytest.param(
            "a.md", "```text\n[t](../t)\n```", "```text\n[t](../t)\n```", id="a block of code stays"
        ),
    ],
)
def test_links_lead_to_where_their_file_is(uri: str, written: str, led: str) -> None:
    """To a page of the site, or into the repository."""
    assert docs_site.rewritten(written, uri, REPOSITORY) == led


def test_without_a_repository_the_file_is_named() -> None:
    """A link that leads nowhere would be worse than none."""
    text = docs_site.rewritten("[tls](../examples/tls)", "a.md", "")
    assert "](" not in text
    assert 'title="examples/tls in the repository"' in text


def test_the_site_fetches_nothing_from_elsewhere(tmp_path: Path) -> None:
    """No fonts, scripts or pictures of others: it can be read without a network."""
    command = [sys.executable, "-m", "properdocs", "build", "--quiet", f"--site-dir={tmp_path}"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    assert (tmp_path / "index.html").exists()
    fetched = {
        path.relative_to(tmp_path).as_posix(): FETCHED.findall(path.read_text(encoding="utf-8"))
        for path in tmp_path.rglob("*")
        if path.suffix in (".html", ".css", ".svg")
    }
    assert {name: found for name, found in fetched.items() if found} == {}


def test_the_picture_of_a_terminal_is_text_of_nobody_in_particular() -> None:
    """It can be searched and read aloud, and shows no directory, user or host."""
    text = (ROOT / "docs" / "images" / "terminal.svg").read_text(encoding="utf-8")
    assert "kubectl" in text
    assert "<image" not in text
    assert re.findall(r"/(?:home|root|tmp|work|usr)/|\w@\w", text) == []

"""A path for what must not reach a file system, and what is left where it has to."""

import os
import tempfile
from pathlib import Path

import pytest

from springline import private_files

KEY = b"pl4nted"


def test_content_has_a_path_and_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with private_files.holding(KEY) as name:
        assert Path(name).read_bytes() == KEY
        assert Path(name).read_bytes() == KEY, "and it can be read again"
        assert list(tmp_path.iterdir()) == []
    assert not Path(name).exists()


def test_written_key_is_nobody_elses_to_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the system has no files without a name; afterwards none is left."""
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with private_files.holding(KEY) as name:
        path = Path(name)
        assert path.read_bytes() == KEY
        assert path.stat().st_mode & 0o077 == 0
        assert path.parent.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []

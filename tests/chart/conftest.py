"""Helm, of both lines that the chart has to work with."""

from pathlib import Path

import pytest

from support.chart import VERSIONS, Helm
from support.tools import ToolMissing


def _helm(version: str, directory: Path) -> Helm:
    try:
        return Helm(program=VERSIONS[version](), directory=directory)
    except ToolMissing as error:
        pytest.skip(f"the chart tests did not run: {error}")


@pytest.fixture(scope="session", params=VERSIONS)
def helm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Each line of Helm: where they could differ."""
    return _helm(request.param, tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def helm4(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The newer line: where one will do."""
    return _helm("Helm 4", tmp_path_factory.mktemp("helm4"))

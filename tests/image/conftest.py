"""The image, built once for all tests here. Without a builder they are skipped, and say why."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import images
from support.images import Images

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them need a builder."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.image)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    """A builder that keeps nothing."""
    try:
        containers = images.builder()
    except images.BuilderMissing as missing:
        pytest.skip(str(missing))
    directory = tmp_path_factory.mktemp("containers")
    yield Images.beside(containers, directory)
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """What the image is built with, beside the sources."""
    return {"SOURCE_DATE_EPOCH": "1767225600", "SOURCE": "https://example.org/springline"}


@pytest.fixture(scope="session")
def image(builder: Images, environment: dict[str, str]) -> str:
    """The name of the image."""
    builder.build("springline:test", environment=environment)
    return "springline:test"

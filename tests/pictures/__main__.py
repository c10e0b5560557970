"""`make pictures`: let a story happen to a real fleet, and draw what the dashboard asks about it.

The directory for the pictures is the argument.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from pictures import drawing, story

NAME = "dashboard.png"


def main() -> None:
    """Make the pictures. A part of the stage that is missing is said in its own words."""
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="springline-pictures-") as directory:
        asyncio.run(_draw(Path(directory), target / NAME))


async def _draw(directory: Path, picture: Path) -> None:
    async with story.stage(directory) as stage:
        told = await story.play(stage)
        await asyncio.to_thread(drawing.draw, stage.prometheus, told, picture)
    print(f"{picture} is drawn.")


if __name__ == "__main__":
    main()

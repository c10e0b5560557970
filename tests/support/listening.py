"""What a probe or Prometheus is answered at the address of `--listen`."""

import asyncio
import urllib.error
import urllib.request

from support import ports

__all__ = ["Port"]


class Port:
    """Where a run listens."""

    def __init__(self, number: int) -> None:
        self.address = f"{ports.LOOPBACK}:{number}"

    async def ask(self, path: str) -> tuple[int, str]:
        """Return the code and text of an answer; a code of 0 if there is none."""
        return await asyncio.to_thread(self._ask, path)

    def _ask(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    async def until(self, path: str, code: int) -> str:
        """Ask until there is this code, and return the text."""
        while True:
            got, text = await self.ask(path)
            if got == code:
                return text
            await asyncio.sleep(0.05)

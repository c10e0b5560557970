"""Write the sessions of the AMQP 0-9-1 corpus anew: `python -m fuzz.recording`.

Each is what the scripted peer says to the real driver, which does what the plan says.
"""

import asyncio
import base64
import contextlib
import sys
from collections.abc import Awaitable, Callable

from pamqp import commands as spec
from pamqp.heartbeat import Heartbeat

from fuzz import cases
from fuzz.observing import Observer
from fuzz.oracles import SECRET
from fuzz.targets import CORPUS, amqp091
from springline.drivers.amqp091.driver import Amqp091Driver
from springline.errors import SpringlineError
from support import fake_peer
from support.fake_peer import Talk

__all__ = ["SESSIONS"]

Script = Callable[[Talk], Awaitable[None]]
_PROBE, _OWN, _RENEW, _WAIT, _CLOSE, _ABORT = range(6)


async def _refuses_login(talk: Talk) -> None:
    await talk.greet()
    await talk.expect(spec.Connection.StartOk)
    talk.send(spec.Connection.Close(403, f"ACCESS_REFUSED - Login refused: {SECRET}", 0, 0))
    await talk.until_gone()


async def _challenges(talk: Talk) -> None:
    await talk.greet(mechanisms="PLAIN AMQPLAIN EXTERNAL", locales="de_DE en_US")
    await talk.log_in(challenges=2)
    await talk.until_gone()


async def _has_no_limits(talk: Talk) -> None:
    await talk.greet(mechanisms="PLAIN AMQPLAIN EXTERNAL", locales="de_DE en_US")
    await talk.log_in()
    await talk.tune(channel_max=0, frame_max=0, heartbeat=0)
    talk.send(spec.Connection.OpenOk())
    await talk.serve()


async def _refuses_virtual_host(talk: Talk) -> None:
    await talk.greet()
    await talk.log_in()
    await talk.tune()
    talk.send(Heartbeat())
    talk.send(spec.Connection.Close(530, "NOT_ALLOWED - vhost / not found", 10, 40))
    await talk.until_gone()


async def _blocks(talk: Talk) -> None:
    await talk.handshake()
    talk.send(spec.Connection.Blocked(f"low on memory, said {SECRET}"))
    talk.send(spec.Connection.Unblocked())
    await talk.serve()


async def _blocks_probe(talk: Talk) -> None:
    await talk.handshake()
    await talk.expect(spec.Channel.Open)
    talk.send(spec.Channel.OpenOk(), 1)
    await talk.expect(spec.Confirm.Select)
    talk.send(spec.Confirm.SelectOk(), 1)
    talk.send(spec.Connection.Blocked("low on disk"))
    await talk.until_gone()


async def _refuses_probe(talk: Talk) -> None:
    await talk.handshake()
    await talk.expect(spec.Channel.Open)
    talk.send(spec.Channel.OpenOk(), 1)
    talk.send(spec.Channel.Close(403, f"ACCESS_REFUSED - {SECRET}", 60, 40), 1)
    await talk.serve()


async def _refuses_secret(talk: Talk) -> None:
    await talk.handshake()
    await talk.expect(spec.Connection.UpdateSecret)
    echoed = base64.b64encode(SECRET.encode()).decode()
    talk.send(spec.Connection.Close(530, f"NOT_ALLOWED - '{echoed}' was refused", 10, 70))
    await talk.until_gone()


async def _closes(talk: Talk) -> None:
    await talk.handshake()
    talk.send(spec.Connection.Close(320, "CONNECTION_FORCED - broker forced closure", 0, 0))
    await talk.until_gone()


async def _speaks_http(talk: Talk) -> None:
    talk.raw(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    talk.close()
    await talk.until_gone()


async def _another_version(talk: Talk) -> None:
    talk.raw(b"AMQP\x00\x01\x00\x00")
    talk.close()
    await talk.until_gone()


SESSIONS: dict[str, tuple[bytes, Script]] = {
    "probe-renew-close": (bytes([0, _PROBE, _RENEW, _PROBE, _CLOSE]), fake_peer.broker),
    "own-queue": (bytes([2, _OWN, _OWN, _PROBE, _CLOSE]), fake_peer.broker),
    "refuses-login": (bytes([1]), _refuses_login),
    "challenges": (bytes([2, _PROBE]), _challenges),
    "no-limits": (bytes([2, _PROBE, _WAIT, _RENEW]), _has_no_limits),
    "refuses-virtual-host": (bytes([0]), _refuses_virtual_host),
    "blocks": (bytes([2, _RENEW, _PROBE]), _blocks),
    "blocks-probe": (bytes([1, _PROBE, _RENEW, _ABORT]), _blocks_probe),
    "refuses-probe": (bytes([0, _PROBE, _OWN]), _refuses_probe),
    "refuses-secret": (bytes([0, _RENEW]), _refuses_secret),
    "closes": (bytes([0, _PROBE]), _closes),
    "speaks-http": (bytes([0]), _speaks_http),
    "another-version": (bytes([0]), _another_version),
}


async def _recorded(plan: bytes, script: Script) -> list[bytes]:
    said: list[bytes] = []

    class Recorded(Talk):
        def raw(self, octets: bytes) -> None:
            said.append(octets)
            super().raw(octets)

    async def played(talk: Talk) -> None:
        await script(Recorded(talk.reader, talk.writer))

    async with fake_peer.serving(played) as peer:
        observer = Observer()
        # A wait of a plan passes time, which nobody has here.
        acts = bytes(each for each in plan[1:] if each != _WAIT)
        with contextlib.suppress(SpringlineError, TimeoutError):
            connection = await Amqp091Driver().open(amqp091.request(peer.port))
            await amqp091.converse(connection, acts, observer)
    return said


def main() -> int:
    """Record all sessions."""
    folder = CORPUS / "amqp091"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (plan, script) in SESSIONS.items():
        said = asyncio.run(_recorded(plan, script))
        text = cases.written(f"{name}: the plan, and then what the peer says", [plan, *said])
        (folder / f"{name}.hex").write_text(text, encoding="ascii")
        print(f"{name}: {len(said)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One number of connections over HTTP, without a cluster: Springline, and h11 or h2 alone.

The server is nginx, as one process. What a session asks for is a file of six octets, and nothing
beside it. nginx takes the password before the change and the one after it, so that no probe between
the two is refused: what is measured is the change, and not a login.
"""

from pathlib import Path

from bench import children, rows, sides, standalone
from bench.bare import USER
from bench.plan import PASSWORDS, Plan
from bench.rows import Row
from bench.sides import Measured
from bench.told import Told
from support.nginx import Nginx

__all__ = ["measure", "server"]

_MOST_CONNECTIONS = 12_000
_UNLIMITED = 1_000_000_000
_BESIDE = {"HTTP1": ("HTTP/1.1", "h11"), "HTTP2": ("HTTP/2", "h2")}


def server(directory: Path) -> Nginx:
    """Return the server, not started. Raises `HTTPPeerMissing`."""
    return Nginx(
        directory,
        connections=_MOST_CONNECTIONS,
        keepalive_requests=_UNLIMITED,
        logins=[(USER, password) for password in PASSWORDS],
    )


def measure(web: Nginx, count: int, plan: Plan, turn: int = 1) -> list[Row]:
    """Measure each side once, with both versions; `web` is restarted."""
    return [row for version in _BESIDE for row in _measured(web, count, plan, version, turn)]


def _measured(web: Nginx, count: int, plan: Plan, version: str, turn: int) -> list[Row]:
    port = web.port if version == "HTTP1" else web.http2_port
    title, library = _BESIDE[version]
    first, second = PASSWORDS
    told = Told(port=port, secret=first, count=count, plan=plan, speech=version)

    def one(name: str, module: str) -> Measured:
        return sides.measured(
            name,
            children.python(module, *told.arguments),
            count,
            plan,
            standalone.steps(plan),
            servers={"the server": lambda: web.pid},
            renewing=lambda: second,
            server=sides.of_nginx(web, port),
        )

    bare, ours = sides.by_turns(
        turn, lambda: one(library, "bare_http"), lambda: one("Springline", "held")
    )
    named = f"{title}: "
    return rows.beside(sides.rows_of(ours, title=named), bare=sides.rows_of(bare, title=named))

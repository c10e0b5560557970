"""One number of connections over HTTP, without a cluster: Springline, and h11 or h2 alone.

The server is nginx, as one process. What a session asks for is a file of six octets, and nothing
beside it. nginx takes the password before the change and the one after it, so that no probe between
the two is refused: what is measured is the change, and not a login.
"""

from collections.abc import Iterator
from pathlib import Path

from bench import children
from bench.bare import USER
from bench.plan import PASSWORDS, Plan
from bench.rows import Row
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


def measure(web: Nginx, count: int, plan: Plan) -> list[Row]:
    """Measure both versions."""
    return [row for version in _BESIDE for row in _measured(web, count, plan, version)]


def _measured(web: Nginx, count: int, plan: Plan, version: str) -> Iterator[Row]:
    port = web.port if version == "HTTP1" else web.http2_port
    title, library = _BESIDE[version]
    limit = 4 * plan.seconds(count) + plan.idle_seconds
    first, second = PASSWORDS
    told = (port, first, count, plan.idle_seconds, plan.probe_seconds, version)

    with children.started(library, children.python("bare_http", *told), seconds=limit) as child:
        bare = child.figures()
    with children.started("Springline", children.python("held", *told), seconds=limit) as child:
        ours = child.figures()
        child.tell(second)
        renewed = child.figures()

    yield Row(what=f"{title}: memory per connection", count=count, unit="KB", is_fitted=True,
              is_each=True, ours=ours["memory"] / 1000, bare=bare["memory"] / 1000)  # fmt: skip
    yield Row(what=f"{title}: declared → all Ready", count=count, unit="s", is_fitted=True,
              ours=ours["wall"], bare=bare["wall"])  # fmt: skip
    yield Row(what=f"{title}:   processor time", count=count, unit="s",
              ours=ours["cpu"], bare=bare["cpu"])  # fmt: skip
    yield Row(what=f"{title}: {plan.idle}", count=count, unit="% of a core",
              ours=ours["idle"] * 100, bare=bare["idle"] * 100)  # fmt: skip
    yield Row(what=f"{title}: Secret changed → all renewed", count=count, unit="s",
              is_fitted=True, ours=renewed["wall"])  # fmt: skip
    yield Row(what=f"{title}:   processor time to renew", count=count, unit="s",
              ours=renewed["cpu"])  # fmt: skip

"""A private nginx on loopback: HTTP/1.1 and HTTP/2 with the limits that administrators set.

| path | answer |
|---|---|
| `/` | 200, `HELLO` |
| `/large` | 200, `LARGE` octets |
| `/private` | 401, or 200 with the user that `set_password` has named; checked in each request |
| `/either` | 401, or 200 with one of `logins`: as while a password is changed |
| `/forbidden` | 403 |
| `/moved` | 302 to `/` |
| `/limited/STATUS/FORM?client=NAME` | 200 once a minute for each name, and then STATUS, 429 |
| | or 503, with a Retry-After whose FORM is `seconds` or `date` |
| `/closes` | none: the connection is closed, over HTTP/2 the stream is reset |
| `/cut/length`, `/cut/chunked` | 200 and half of the content, its upstream server dies |
| `/cut/head` | 502, because its upstream server dies before it answers |

These are files, so anything but GET and HEAD is answered with 405. It runs as one process, without
the master that starts workers anew: nothing is left when it is killed.
"""

import base64
import email.utils
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

from support.dying_upstream import DyingUpstream
from support.http_peers import LARGE, HTTPPeer, find
from support.ports import LOOPBACK
from support.rabbitmq import TLSFiles

__all__ = ["HELLO", "KEEPALIVE_REQUESTS", "Nginx"]

HELLO = b"hello\n"
KEEPALIVE_REQUESTS = 10
"""After so many answers a connection is closed, unless told otherwise; over HTTP/2 with a GOAWAY
before the last one."""

_CONFIGURATION = """
daemon off;
master_process off;
pid {at}/nginx.pid;
error_log {at}/nginx.log info;
events {{ worker_connections {connections}; }}
http {{
    log_format requests '$request_method $request_uri $server_protocol $status';
    access_log {at}/access.log requests;
    client_body_temp_path {at}/client_body;
    proxy_temp_path {at}/proxy;
    fastcgi_temp_path {at}/fastcgi;
    uwsgi_temp_path {at}/uwsgi;
    scgi_temp_path {at}/scgi;
    default_type text/plain;
    keepalive_requests {keepalive_requests};
    limit_req_zone $arg_client zone=limited:1m rate=1r/m;
    # Empty is not sent.
    map $status $in_seconds {{ 429 {seconds}; 503 {seconds}; default ""; }}
    map $status $at_date {{ 429 "{date}"; 503 "{date}"; default ""; }}
    # Whatever the case of its letters.
    map $http_authorization $is_known {{ default ""; {known} }}
    server {{
        listen {host}:{port};
        keepalive_timeout {keepalive_seconds};
        include {at}/locations.conf;
    }}
    server {{
        listen {host}:{http2_port} http2;
        keepalive_timeout {keepalive_seconds};
        include {at}/locations.conf;
    }}
    server {{
        listen {host}:{brief_port};
        keepalive_timeout 1;
        include {at}/locations.conf;
    }}
    {tls_servers}
}}
"""

_TLS_SERVER = """
    server {{
        listen {host}:{port} ssl http2;
        ssl_certificate {tls.certificate};
        ssl_certificate_key {tls.key};
        ssl_client_certificate {tls.ca};
        ssl_verify_client {verify};
        keepalive_timeout {keepalive_seconds};
        include {at}/locations.conf;
    }}
"""

# try_files, and not return, wherever a request can be limited or refused: return comes before that.
_LOCATIONS = """
root {at}/content;
location = / {{ try_files /hello.txt =404; }}
location = /large {{ try_files /large.bin =404; }}
location = /private {{
    auth_basic tests;
    auth_basic_user_file {at}/users;
    try_files /hello.txt =404;
}}
location = /either {{
    add_header WWW-Authenticate 'Basic realm="tests"' always;
    if ($is_known = "") {{ return 401; }}
    try_files /hello.txt =404;
}}
location = /forbidden {{ return 403; }}
location = /moved {{ return 302 /; }}
location = /closes {{ return 444; }}
location /cut/ {{
    proxy_pass http://{host}:{upstream_port}/;
    proxy_http_version 1.1;
    proxy_buffering off;
}}
"""

_LIMITED = """
location = /limited/{status}/{form} {{
    limit_req zone=limited;
    limit_req_status {status};
    add_header Retry-After {variable} always;
    try_files /hello.txt =404;
}}
"""


class Nginx(HTTPPeer):
    """One nginx. `port` and `brief_port` speak HTTP/1.1, `brief_port` closes after an idle second.

    `http2_port` speaks HTTP/2 in clear text, with clients that know it beforehand.
    With `tls`, `tls_port` and `client_tls_port` speak HTTP/2 or HTTP/1.1, as the client prefers in
    ALPN; on `client_tls_port` a client without a certificate of the same authority gets 400.
    `retry_seconds` and `retry_at` are what Retry-After says. It takes so many `connections`, those
    that it makes itself among them, and ends each after `keepalive_requests`.
    """

    name: ClassVar[str] = "nginx"

    def __init__(
        self,
        directory: Path,
        *,
        tls: TLSFiles | None = None,
        keepalive_seconds: int = 75,
        retry_seconds: int = 2,
        retry_at: datetime | None = None,
        connections: int = 512,
        keepalive_requests: int = KEEPALIVE_REQUESTS,
        logins: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Choose ports; nothing runs yet. Raises `HTTPPeerMissing`."""
        self._program = find(self.name)
        super().__init__(directory, tls=tls, port_count=6)
        self.port, self.brief_port, self.http2_port, *others = self._lease.ports
        self.tls_port, self.client_tls_port, self._upstream_port = others
        self.keepalive_seconds = keepalive_seconds
        self.retry_seconds = retry_seconds
        self.retry_at = retry_at or datetime.now(UTC) + timedelta(hours=1)
        self.connections = connections
        self.keepalive_requests = keepalive_requests
        self.logins = logins
        self._upstream = DyingUpstream(self._upstream_port)
        self.set_password("ann", "not the password")

    def start(self, timeout: float = 60.0) -> None:
        """Start, with the upstream server that dies."""
        self._upstream.start()
        super().start(timeout)

    def close(self) -> None:
        """Stop both."""
        super().close()
        self._upstream.close()

    def set_password(self, user: str, password: str) -> None:
        """Let one user in, and no other, from the next request on."""
        temporary = self.directory / "users.new"
        temporary.write_text(f"{user}:{{PLAIN}}{password}\n", encoding="utf-8")
        temporary.replace(self.directory / "users")

    @property
    def requests(self) -> list[str]:
        """The requests that have been answered, such as `GET /large HTTP/1.1 200`, in order."""
        path = self.directory / "access.log"
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    def _command(self) -> Sequence[str | Path]:
        at = self.directory
        return [self._program.path, "-p", at, "-c", at / "nginx.conf", "-e", self._log]

    def _environment(self) -> Mapping[str, str]:
        return self._program.environment

    def listeners(self) -> Sequence[int]:
        """Return the ports that it listens on."""
        with_tls = (self.tls_port, self.client_tls_port) if self.tls else ()
        return (self.port, self.brief_port, self.http2_port, *with_tls)

    def _prepare(self) -> None:
        at = self.directory
        (at / "content").mkdir(exist_ok=True)
        (at / "content" / "hello.txt").write_bytes(HELLO)
        with (at / "content" / "large.bin").open("wb") as large:
            large.truncate(LARGE)
        (at / "locations.conf").write_text(self._locations(), encoding="utf-8")
        configuration = _CONFIGURATION.format(
            at=at,
            host=LOOPBACK,
            port=self.port,
            brief_port=self.brief_port,
            http2_port=self.http2_port,
            connections=self.connections,
            keepalive_requests=self.keepalive_requests,
            known=" ".join(f'"Basic {_basic(*each)}" yes;' for each in self.logins),
            keepalive_seconds=self.keepalive_seconds,
            seconds=self.retry_seconds,
            date=email.utils.format_datetime(self.retry_at.astimezone(UTC), usegmt=True),
            tls_servers=self._tls_servers(),
        )
        (at / "nginx.conf").write_text(configuration, encoding="utf-8")

    def _locations(self) -> str:
        limited = (
            _LIMITED.format(status=status, form=form, variable=variable)
            for status in (429, 503)
            for form, variable in (("seconds", "$in_seconds"), ("date", "$at_date"))
        )
        locations = _LOCATIONS.format(
            at=self.directory, host=LOOPBACK, upstream_port=self._upstream_port
        )
        return locations + "".join(limited)

    def _tls_servers(self) -> str:
        if self.tls is None:
            return ""
        return "".join(
            _TLS_SERVER.format(
                at=self.directory,
                host=LOOPBACK,
                port=port,
                tls=self.tls,
                verify=verify,
                keepalive_seconds=self.keepalive_seconds,
            )
            for port, verify in ((self.tls_port, "off"), (self.client_tls_port, "on"))
        )


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()

"""Why a broker may have refused a login, as far as the login itself shows it.

A broker answers every refused login with the same words, so that a stranger learns nothing. Some
causes can be seen from here. They are hints only: such a user name, password or token is sent as it
is, because the broker may accept it.

Pure. A hint says how a user name, a password or a token looks, and never the value.
"""

import ipaddress

from springline.core.values import Credential, CredentialKind

__all__ = ["on_refused_login"]

# RabbitMQ's default for `loopback_users`.
_LOOPBACK_USER = "guest"


def on_refused_login(credential: Credential, address: str) -> str:
    """Return what to look at, as one phrase, after the broker at an IP address refused a login.

    It is empty where there is nothing to see.
    """
    if credential.kind is CredentialKind.TOKEN:
        return _token(credential.secret.reveal())
    if credential.kind is not CredentialKind.PASSWORD:
        return ""
    hints = (_line_break(credential), _loopback_user(credential, address))
    return "; ".join(hint for hint in hints if hint)


def _token(token: str) -> str:
    # White space around a token is no part of it, and has gone when it was read.
    if token[:7].lower() == "bearer ":
        return 'the token begins with "Bearer ", which belongs to HTTP: leave it out'
    if any(character.isspace() for character in token):
        return "the token has white space in it, which is sent as part of it: base64 breaks lines"
    return ""


def _line_break(credential: Credential) -> str:
    values = {"user name": credential.username, "password": credential.secret.reveal()}
    found = [name for name, value in values.items() if value.endswith(("\n", "\r"))]
    match found:
        case []:
            return ""
        case [name]:
            what = f"the {name} ends with a line break, which is sent as part of it"
        case _:
            what = "user name and password end with a line break, which is sent as part of them"
    return f"{what}: kubectl create secret --from-file keeps the one at the end of a file"


def _loopback_user(credential: Credential, address: str) -> str:
    if credential.username != _LOOPBACK_USER or _is_loopback(address):
        return ""
    return (
        f'RabbitMQ lets "{_LOOPBACK_USER}" log in only from its own machine (loopback_users):'
        " create another user"
    )


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback

"""The server's side of SCRAM, for peers of tests (RFC 5802, RFC 7677).

Written from the server's point of view, which has no password but what it stores, so that nothing
of the client's side is in it. Each message can be replaced by a wrong one.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

__all__ = ["ScramServer", "ScramUser"]

_HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}


@dataclass(frozen=True, kw_only=True)
class ScramUser:
    """A user as a server stores one: without the password."""

    mechanism: str
    name: str
    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    @classmethod
    def create(
        cls,
        mechanism: str,
        name: str,
        password: str,
        *,
        salt: bytes = b"a salt of 16 oct",
        iterations: int = 4096,
    ) -> "ScramUser":
        """Return a user with a password, which must be as SASLprep has it."""
        hash_name = _HASHES[mechanism]
        salted = hashlib.pbkdf2_hmac(hash_name, password.encode(), salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", hash_name)
        return cls(
            mechanism=mechanism,
            name=name,
            salt=salt,
            iterations=iterations,
            stored_key=hashlib.new(hash_name, client_key).digest(),
            server_key=hmac.digest(salted, b"Server Key", hash_name),
        )


@dataclass(kw_only=True)
class ScramServer:
    """One login of one user."""

    user: ScramUser
    nonce: str = "the server's own nonce"
    seen: list[bytes] = field(default_factory=list)
    """What the client sent."""
    _signed: list[bytes] = field(default_factory=list)

    def first(self, client_first: bytes) -> bytes:
        """Return the first message. Raises `ValueError` for a client's that is wrong."""
        self.seen.append(client_first)
        header, bare = client_first[:3], client_first[3:]
        name, nonce = bare.split(b",", 1)
        if header != b"n,," or not name.startswith(b"n=") or not nonce.startswith(b"r="):
            raise ValueError(client_first)
        user = name[2:].decode().replace("=2C", ",").replace("=3D", "=")
        if user != self.user.name:
            raise ValueError(user)
        salt = base64.b64encode(self.user.salt)
        own = self.nonce.replace(" ", "_").encode()
        message = nonce + own + b",s=" + salt + f",i={self.user.iterations}".encode()
        self._signed += [bare, message]
        return message

    def final(self, client_final: bytes) -> bytes:
        """Return the last message: the server's proof, or an error for a client's that is wrong."""
        self.seen.append(client_final)
        without_proof, proof = client_final.rsplit(b",p=", 1)
        nonce = self._signed[1].split(b",")[0]
        if without_proof != b"c=biws," + nonce:
            return b"e=other-error"
        hash_name = _HASHES[self.user.mechanism]
        signed = b",".join([*self._signed, without_proof])
        signature = hmac.digest(self.user.stored_key, signed, hash_name)
        octets = base64.b64decode(proof, validate=True)
        client_key = bytes(a ^ b for a, b in zip(octets, signature, strict=True))
        if hashlib.new(hash_name, client_key).digest() != self.user.stored_key:
            return b"e=invalid-proof"
        return b"v=" + base64.b64encode(hmac.digest(self.user.server_key, signed, hash_name))

"""`core.ports.Driver` for AMQP 1.0: one attempt under one deadline. It keeps nothing between calls.

Open means: logged in, Open exchanged and a session begun. RabbitMQ 3.10 accepts any virtual host in
Open, and refuses it in Begin.
"""

import asyncio

from springline.core import ports
from springline.core.values import OpenRequest
from springline.drivers.amqp10 import library, mechanisms
from springline.drivers.amqp10.parameters import Amqp10Parameters
from springline.drivers.shared import sasl

__all__ = ["Amqp10Driver"]


class Amqp10Driver:
    """Opens AMQP 1.0 connections."""

    __slots__ = ()

    async def open(self, request: OpenRequest[Amqp10Parameters]) -> ports.Connection:
        """Connect, log in, open, and begin a session within `request.timeout` seconds.

        What cannot work is refused before anything is sent. Safe to cancel.
        """
        library.load()
        # What speaks with the engine is there only if its library is.
        from springline.drivers.amqp10.opening import Attempt  # noqa: PLC0415

        sasl.check(mechanisms.TABLE, request.parameters.sasl, request.credential, request.tls)
        request.veil.note(request.credential.secret)
        request.veil.know(
            request.credential.username,
            request.parameters.virtual_host,
            request.parameters.container_id,
            request.endpoint.host,
            request.address,
        )
        deadline = asyncio.get_running_loop().time() + request.timeout
        return await Attempt(request, deadline).run()

"""Closing a connection that nobody else knows of: whatever happens, it is gone afterwards."""

from springline import errors
from springline.core import ports

__all__ = ["close_quietly"]


async def close_quietly(connection: ports.Connection, text: str) -> None:
    """Close with a goodbye; drop what cannot be closed like that. Safe to cancel."""
    try:
        await connection.close(text=text)
    except errors.NotOpenError:
        connection.abort()  # somebody else closed it first; make sure that it is gone
    except BaseException:
        connection.abort()
        raise

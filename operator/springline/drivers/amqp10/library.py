"""The library that speaks AMQP 1.0: whether it is there, and what to do where it is not.

python-qpid-proton has no wheels, so it is an extra of Springline. `load` is called when a
connection is opened, and nothing imports the library before that: a process without such
connections does not pay for it, and one without the library says so in their status alone.
"""

from types import ModuleType
from typing import Final

from springline.errors import TerminalError
from springline.reasons import Reason

__all__ = ["load"]

_NEEDS: Final = "protocol amqp10 needs the library python-qpid-proton"
_INSTALL: Final = 'pip install "springline[amqp10]", or use the image, which has it'


def load() -> ModuleType:
    """Return the module `proton`. Idempotent; imports it the first time, from files.

    Raises `TerminalError` ProtocolNotInstalled where the library is missing or cannot be loaded.
    The next call tries again.
    """
    try:
        import proton  # noqa: PLC0415 - see above
    except ModuleNotFoundError as error:
        if error.name == "proton":
            raise _failure(f"which is not installed: {_INSTALL}") from error
        raise _failure(_broken(error)) from error
    except ImportError as error:  # a library of the system's that it is linked with, for instance
        raise _failure(_broken(error)) from error
    library: ModuleType = proton
    return library


def _broken(error: ImportError) -> str:
    return f"which is installed but cannot be loaded ({error}): install it again, {_INSTALL}"


def _failure(what: str) -> TerminalError:
    return TerminalError(Reason.PROTOCOL_NOT_INSTALLED, f"{_NEEDS}, {what}")

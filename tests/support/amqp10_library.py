"""Whether the library for AMQP 1.0 is there, for the tests that need it.

`make amqp10` builds it into the virtual environment, where there is a C compiler. A test module
that needs it says so between its imports, and is skipped and counted without it:

    import pytest

    from support.amqp10_library import MISSING

    pytest.importorskip("proton", reason=MISSING)

    from springline.drivers.amqp10 import engine
"""

from typing import Final

__all__ = ["MISSING"]

MISSING: Final = "there is no python-qpid-proton: install a C compiler, and run make amqp10"
"""Why a test is skipped."""

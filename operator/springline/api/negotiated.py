"""In which order people read what was negotiated: without the model, whose fields these are."""

from typing import Final

__all__ = ["FIELDS", "SELF_EVIDENT"]

FIELDS: Final = (
    *("mechanism", "locale", "heartbeat", "channelMax", "frameMax"),
    *("clientProperties", "tls"),
)
"""Of `NegotiatedStatus`, as it declares them; blocks of single protocols follow."""

SELF_EVIDENT: Final = ("mechanism", "locale")
"""What people understand without a label."""

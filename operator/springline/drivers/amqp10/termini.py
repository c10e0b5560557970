"""What a peer has confirmed of a link, read off proton's objects."""

import dataclasses
from datetime import timedelta
from typing import Final

from proton import Link, Terminus

from springline.drivers.amqp10 import attachments, codec, habits
from springline.drivers.amqp10.attachments import Attachment
from springline.drivers.amqp10.negotiated import LinkInfo, TerminusInfo
from springline.drivers.amqp10.terms import (
    Durability,
    Expiry,
    ReceiverSettle,
    Role,
    SenderSettle,
)
from springline.veil import Veil

__all__ = ["credit", "seen"]

_MOST_FILTERS: Final = 32
_DURABILITIES: Final = {theirs: ours for ours, theirs in attachments.DURABILITIES.items()}
_EXPIRIES: Final = {theirs: ours for ours, theirs in attachments.EXPIRIES.items()}
_DISTRIBUTIONS: Final = {theirs: ours for ours, theirs in attachments.DISTRIBUTIONS.items()}
_SENDER_SETTLE: Final = {
    Link.SND_UNSETTLED: SenderSettle.UNSETTLED,
    Link.SND_SETTLED: SenderSettle.SETTLED,
    Link.SND_MIXED: SenderSettle.MIXED,
}
_RECEIVER_SETTLE: Final = {
    Link.RCV_FIRST: ReceiverSettle.FIRST,
    Link.RCV_SECOND: ReceiverSettle.SECOND,
}


def seen(attachment: Attachment, info: LinkInfo, veil: Veil) -> LinkInfo:
    """Return `info` with what the peer has confirmed, as it is now."""
    link = attachment.link
    return dataclasses.replace(
        info,
        source=_terminus(link.remote_source, veil),
        target=_terminus(link.remote_target, veil),
        sender_settle=_SENDER_SETTLE.get(int(link.remote_snd_settle_mode)),
        receiver_settle=_RECEIVER_SETTLE.get(int(link.remote_rcv_settle_mode)),
        credit=credit(attachment),
        max_message_size=int(link.remote_max_message_size),
    )


def credit(attachment: Attachment) -> int:
    """Return how many messages may be sent over it now; a receiver gives none."""
    return max(int(attachment.link.credit), 0) if attachment.terms.role is Role.SENDER else 0


def _terminus(terminus: Terminus, veil: Veil) -> TerminusInfo | None:
    if int(terminus.type) == Terminus.UNSPECIFIED:
        return None
    return TerminusInfo(
        address=habits.shown(terminus.address or "", veil),
        durability=_DURABILITIES.get(int(terminus.durability), Durability.NONE),
        expiry=_EXPIRIES.get(int(terminus.expiry_policy), Expiry.SESSION_END),
        timeout=timedelta(seconds=int(terminus.timeout)),
        dynamic=bool(terminus.dynamic),
        filters=_filters(terminus, veil),
        distribution=_DISTRIBUTIONS.get(int(terminus.distribution_mode)),
    )


def _filters(terminus: Terminus, veil: Veil) -> tuple[str, ...]:
    """Return the names of the filters that the peer applies; none where they make no sense."""
    try:
        found = codec.value(terminus.filter)
    except codec.UndecodableError:
        return ()
    if not isinstance(found, dict):
        return ()
    names = [str(name) for name in found if isinstance(name, str)]
    return tuple(habits.shown(name, veil) for name in names[:_MOST_FILTERS])

"""What a token endpoint answers: the status and two headers in the first line, and the content."""

from datetime import UTC, datetime

from fuzz import oracles
from fuzz.cases import Case
from fuzz.json_mutations import change_value
from fuzz.targets import Target
from springline import http_times
from springline.core.values import TLSClient
from springline.credentials import token_endpoint
from springline.credentials.token_endpoint import Client
from springline.errors import CredentialError
from springline.redaction import Secret

__all__ = ["TARGET"]

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_LONGEST = 1024


def run(case: Case) -> None:
    """Take in each part as an answer: `status|Date|Retry-After`, a line break, and the content."""
    for part in case:
        head, _, content = part.partition(b"\n")
        status, date, retry_after, *_ = [*head.decode("latin-1").split("|"), "", "", ""]
        sent_at = http_times.date(date)
        wait = http_times.retry_after(retry_after, sent_at=sent_at, now=_NOW)
        assert wait is None or wait >= 0
        digits = status[:3]
        answer = token_endpoint._Answer(
            status=int(digits) if digits.isascii() and digits.isdigit() else 200,
            content=content,
            sent_at=sent_at,
            retry_after=wait,
        )
        _take(answer)


def _take(answer: token_endpoint._Answer) -> None:
    for authentication in ("Basic", "Post"):
        client = Client(
            identifier="fuzz",
            secret=Secret(oracles.SECRET),
            authentication="Basic" if authentication == "Basic" else "Post",
            secret_name="orders",
            tls=_NO_TLS,
        )
        try:
            granted = token_endpoint._granted(
                answer, client, "the token endpoint broker.example.com"
            )
        except CredentialError as error:
            texts = [str(error), repr(error)]
        else:
            texts = [repr(granted)]
            assert granted.seconds is None or granted.seconds > 0
        assert texts[0].isprintable(), "a text is not printable"
        oracles.check_texts(texts, longest=_LONGEST, what="what is said of an answer")


_NO_TLS = TLSClient(context=None, server_name=None)  # type: ignore[arg-type]  # nothing connects


TARGET = Target(name="token_answers", run=run, share=3, mutations=(change_value,))

"""Trying credentials on throw-away handshakes, once for all who want to know the same.

A Secret may be used by a thousand sessions. When it changes, the first of them to ask makes the
handshake, and its answer serves the others: a success for a while, a refusal until it is time to
try again. Whoever waits is woken by the first success.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

from springline import errors
from springline.core import backoff, metering, ports
from springline.core.backoff import Retry
from springline.core.desired import SessionSpec
from springline.core.outcomes import VerificationOutcome
from springline.core.values import Credential, TLSClient, same_tls

__all__ = ["Question", "Verifications"]

_TRUSTED_SECONDS = 60.0
"""How long a success answers the same question; sessions with one credential ask at one time."""

_TIDY_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Would this broker take this credential for this part of it?"""

    topic: tuple[object, ...]
    """All but the secret."""
    credential: Credential
    tls: TLSClient | None

    @classmethod
    def of(cls, spec: SessionSpec, credential: Credential, tls: TLSClient | None) -> "Question":
        """Ask what the session of `spec` would be told."""
        target = spec.target
        where = (target.protocol, target.endpoints, target.default_port, target.tls)
        # References of a broker to other objects are those of its namespace.
        found = (target.endpoints_from, spec.key.namespace) if target.endpoints_from else None
        how = target.parameters.acceptance
        who = (credential.kind, credential.username)
        return cls(topic=(where, found, how, who), credential=credential, tls=tls)

    def same_as(self, other: "Question") -> bool:
        """Whether one answer serves both. Prepared TLS clients are shared while they are equal."""
        return (
            self.topic == other.topic
            and same_tls(self.tls, other.tls)
            and self.credential.same_value(other.credential)
        )


@dataclass(slots=True)
class _Answer:
    """What is known of one question."""

    question: Question
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    accepted: asyncio.Event = field(default_factory=asyncio.Event)
    accepted_at: datetime | None = None
    error: errors.ConnectError | errors.CredentialError | None = None
    handshakes: int = 0
    """How many have come to an end."""
    refusals: int = 0
    """How many of them were refused since the last success."""
    known_since: float = float("-inf")
    """When the broker answered last, by the monotonic clock."""
    retry_when: float = float("-inf")
    """When it is worth asking again, by the monotonic clock."""

    def is_of_use(self, now: float) -> bool:
        """Whether somebody may still be served with it."""
        until = max(self.known_since + _TRUSTED_SECONDS, self.retry_when)
        return self.turn.locked() or now <= until


class Verifications:
    """The handshakes of a process. Everything here is safe to cancel."""

    def __init__(self) -> None:
        self._answers: dict[tuple[object, ...], list[_Answer]] = {}
        self._tidied_at = float("-inf")

    async def verify(
        self,
        question: Question,
        handshake: Callable[[], Awaitable[None]],
        *,
        retry: Retry,
        clock: ports.Clock,
        rng: Random | None,
        since: float = float("-inf"),
        meter: ports.Meter = metering.NO_METER,
    ) -> datetime:
        """Return when the broker accepted the credential; ask it by `handshake` if need be.

        An answer from before the monotonic time `since` does not count. Raises what `handshake`
        raises, and the same again, without asking, until the retry delay has passed. `meter` is
        told where the answer came from.
        """
        answer = self._answer(question, clock)
        handshakes = answer.handshakes
        async with answer.turn:  # who comes meanwhile gets the answer of who was first
            now = clock.monotonic()
            counts = answer.known_since >= since
            is_fresh = answer.known_since >= now - _TRUSTED_SECONDS
            if answer.accepted_at is not None and counts and is_fresh:
                meter.verified(VerificationOutcome.SHARED)
                return answer.accepted_at
            is_early = now < answer.retry_when or answer.handshakes > handshakes
            if answer.error is not None and counts and is_early:
                meter.verified(VerificationOutcome.SHARED)
                raise answer.error.again()
            try:
                await handshake()
            except (errors.ConnectError, errors.CredentialError) as error:
                meter.verified(_refusal(error))
                answer.accepted_at, answer.error = None, error.again()
                answer.accepted.clear()
                answer.handshakes += 1
                answer.refusals += 1
                delay = backoff.spaced_delay(retry, failures=answer.refusals, rng=rng)
                answer.known_since = clock.monotonic()
                is_left_alone_until = answer.known_since + (error.retry_after or 0.0)
                answer.retry_when = max(now + delay, is_left_alone_until)
                raise
            meter.verified(VerificationOutcome.ACCEPTED)
            answer.accepted_at, answer.error, answer.refusals = clock.now(), None, 0
            answer.handshakes += 1
            answer.known_since = clock.monotonic()
            answer.accepted.set()
            return answer.accepted_at

    async def pause(
        self, question: Question, clock: ports.Clock, *, at_least_until: float = float("-inf")
    ) -> None:
        """Return when it is time to ask again, or somebody was told that it is accepted."""
        answer = self._answer(question, clock)
        until = max(answer.retry_when, at_least_until)
        waits = {
            asyncio.ensure_future(clock.sleep(max(until - clock.monotonic(), 0.0))),
            asyncio.ensure_future(answer.accepted.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    def _answer(self, question: Question, clock: ports.Clock) -> _Answer:
        """Return what is known of a question, which may be nothing."""
        of_topic = self._answers.get(question.topic, [])
        for answer in of_topic:
            if answer.question.same_as(question):
                return answer
        for answer in of_topic:
            # With a new secret, the broker may have been told to refuse the one before.
            answer.accepted_at = None
        self._forget_old(clock)
        new = _Answer(question)
        self._answers.setdefault(question.topic, []).append(new)
        return new

    def _forget_old(self, clock: ports.Clock) -> None:
        """Keep no secret here for much longer than its answer is of use."""
        now = clock.monotonic()
        if now < self._tidied_at + _TIDY_SECONDS:
            return  # not for each of thousands that ask at one time
        self._tidied_at = now
        for topic, of_topic in list(self._answers.items()):
            kept = [answer for answer in of_topic if answer.is_of_use(now)]
            if kept:
                self._answers[topic] = kept
            else:
                del self._answers[topic]


def _refusal(error: errors.ConnectError | errors.CredentialError) -> VerificationOutcome:
    if isinstance(error, errors.TransientError | errors.CredentialUnavailableError):
        return VerificationOutcome.FAILED
    return VerificationOutcome.REFUSED

"""Springline in less than a minute: `make demo`.

It starts a private RabbitMQ and `springline run` on the manifests beside this file, lets things
happen to both, and shows what Springline says about it. Every step waits for what it announces; if
that does not come, the exit code is 1. Nothing is left behind, not after Ctrl-C or SIGTERM either.
`PYTHONPATH=tests python examples/demo/walkthrough.py` runs it without make.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

from narrator import Narrator
from stage import NotSeenError, Stage
from statuses import Row

from support.rabbitmq import ErlangError, RabbitMQFailed, RabbitMQMissing

CONNECTIONS = ("audit", "billing", "orders")
# Users of the broker: password and virtual host. The manifests have the same, but for billing.
USERS = {
    "audit": ("audit-password", "/"),
    "billing": ("billing-password", "billing"),
    "orders": ("orders-password", "orders"),
}
OUTDATED, CORRECT = "password: an-outdated-password", "password: billing-password"
# What RabbitMQ logs of a client that went away without Connection.Close.
UNEXPECTED = ("client unexpectedly closed TCP connection", "closed unexpectedly")
SHOWN_ON_FAILURE = 15  # lines


# --- the steps


def start_broker(stage: Stage) -> None:
    stage.narrator.say("A private RabbitMQ is started; that takes a few seconds …")
    broker = stage.broker
    broker.start()
    for user, (password, virtual_host) in USERS.items():
        broker.add_vhost(virtual_host)
        broker.add_user(user, password)
        broker.set_permissions(user, virtual_host)
    stage.copy_manifests()
    stage.narrator.say(
        f"It listens on 127.0.0.1:{broker.amqp_port}; its users are {_listed(CONNECTIONS)}."
    )


def open_connections(stage: Stage) -> None:
    stage.narrator.say("Two of them will be Ready. The third is refused, and its status says why.")
    stage.narrator.say("$ springline run -f manifests --status-dir status --output lines")
    stage.start_springline()
    rows = stage.wait_for(
        "audit and orders are Ready, billing is Rejected with the broker's reason",
        lambda rows: (
            _all(rows, ("audit", "orders"), _in_order) and _all(rows, ("billing",), _refused)
        ),
    )
    stage.narrator.table(rows)


def raise_memory_alarm(stage: Stage) -> None:
    stage.narrator.say(
        "RabbitMQ tells only those who publish. Springline's probe does, here every 2 seconds."
    )
    open_ones = ("audit", "orders")
    stage.broker.set_alarm("memory")
    rows = stage.wait_for(
        "audit and orders are Blocked, LowOnMemory",
        lambda rows: _all(
            rows, open_ones, lambda row: (row.blocked, row.reason) == ("True", "LowOnMemory")
        ),
    )
    stage.narrator.table(rows)
    stage.narrator.say("The alarm is cleared.")
    stage.broker.clear_alarm("memory")
    stage.wait_for(
        "audit and orders are not blocked any more",
        lambda rows: _all(rows, open_ones, _in_order),
    )


def correct_secret(stage: Stage) -> None:
    stage.narrator.say("Springline sees the changed Secret and tries again at once.")
    stage.edit("billing-secret.yaml", OUTDATED, CORRECT)
    rows = stage.wait_for("all connections are Ready", _all_in_order)
    stage.narrator.table(rows)


def restart_broker(stage: Stage) -> None:
    stage.narrator.say("Sessions wait while it is away, and are opened again when it is back.")
    stage.broker.stop()
    rows = stage.wait_for(
        "all connections are Waiting",
        lambda rows: _all(rows, CONNECTIONS, lambda row: row.state == "Waiting"),
    )
    stage.narrator.table(rows)
    stage.narrator.say("The broker is started again …")
    stage.broker.start()
    rows = stage.wait_for("all connections are Ready again", _all_in_order)
    stage.narrator.table(rows)


def stop_springline(stage: Stage) -> None:
    springline, broker = stage.springline, stage.broker
    stage.narrator.say("Each session ends with Connection.Close; the broker's log will confirm it.")
    assert springline is not None  # noqa: S101 - the steps have an order
    before = len(broker.log_text())
    springline.ask_to_stop()
    stage.wait_until("springline ends", lambda: springline.exit_code is not None)
    if springline.exit_code != 0:
        raise NotSeenError("springline ends with code 0", f"it was {springline.exit_code}")
    stage.wait_until("the broker has no connections left", lambda: not broker.connections())

    def goodbyes() -> list[str]:
        log = broker.log_text()[before:].splitlines()
        return [line for line in log if "closing AMQP connection" in line]

    stage.wait_until(
        "the broker's log has three connections closed", lambda: len(goodbyes()) == len(CONNECTIONS)
    )
    for line in goodbyes():
        stage.narrator.quote("rabbitmq", line)
    for text in UNEXPECTED:
        if text in broker.log_text():
            raise NotSeenError("every session ends with Connection.Close", f'the log has "{text}"')
    stage.narrator.say("The broker has 0 connections, and its log none that ended unexpectedly.")


STEPS: Sequence[tuple[str, Callable[[Stage], None]]] = (
    ("Springline opens three connections; billing's Secret has a wrong password", open_connections),
    ("The broker raises its memory alarm, and publishers are blocked", raise_memory_alarm),
    ("Somebody corrects billing's Secret, and does nothing else", correct_secret),
    ("The broker is restarted", restart_broker),
    ("Springline is stopped with SIGTERM, and says goodbye", stop_springline),
)


# --- what the steps look for


def _all(rows: Sequence[Row], names: Sequence[str], test: Callable[[Row], bool]) -> bool:
    found = {row.name: row for row in rows}
    return all(name in found and test(found[name]) for name in names)


def _all_in_order(rows: Sequence[Row]) -> bool:
    return _all(rows, CONNECTIONS, _in_order)


def _in_order(row: Row) -> bool:
    return (row.ready, row.blocked) == ("True", "False")


def _refused(row: Row) -> bool:
    return row.state == "Rejected" and "ACCESS_REFUSED" in row.message


def _listed(names: Sequence[str]) -> str:
    *head, last = names
    return f"{', '.join(head)} and {last}"


# --- the play


def play(narrator: Narrator) -> bool:
    """Go through all steps. Return whether all came out."""
    started = time.monotonic()
    narrator.headline("Springline demo: a real broker, three declared connections, under a minute")
    with Stage(narrator) as stage:
        where = "the start of the broker"
        try:
            start_broker(stage)
            for number, (title, step) in enumerate(STEPS, start=1):
                where = f"step {number}"
                narrator.headline(f"{number}/{len(STEPS)}  {title}")
                step(stage)
        except (NotSeenError, ErlangError, RabbitMQFailed, TimeoutError) as error:
            _explain(stage, where, error)
            return False
    narrator.headline(
        "Seen: a refused login, a block, a corrected Secret, a broker restart and an orderly end."
    )
    narrator.say(f"It took {time.monotonic() - started:.0f} seconds, and nothing is left behind.")
    return True


def _explain(stage: Stage, where: str, error: Exception) -> None:
    """Say which step failed, with what is needed to find out why."""
    narrator = stage.narrator
    if stage.springline is not None:
        stage.springline.show_new_lines()
        narrator.headline("The connections, by their status files")
        narrator.table(stage.springline.rows())
        narrator.headline("Springline's last lines")
        for line in stage.springline.lines[-SHOWN_ON_FAILURE:]:
            narrator.quote("springline", line)
    narrator.headline("The end of the broker's log")
    for line in stage.broker.log_text().splitlines()[-SHOWN_ON_FAILURE:]:
        narrator.quote("rabbitmq", line)
    narrator.complain(f"The demo failed at {where}. {error}")


def main() -> int:
    """Return the exit code."""
    narrator = Narrator(sys.stdout)
    try:
        return 0 if play(narrator) else 1
    except RabbitMQMissing as error:
        narrator.complain(str(error))
    except BrokenPipeError:
        # Whoever read along has left. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _on_signals(numbers: Sequence[signal.Signals]) -> None:
    """Let signals end the program by way of its `with` blocks, and let nothing disturb that."""

    def leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal calls it
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for each in numbers:
        signal.signal(each, leave)


if __name__ == "__main__":
    _on_signals((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    sys.exit(main())

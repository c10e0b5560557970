"""The table of reference behaviours in tests/README.md: which test proves which number.

A test carries its numbers as a comment in front of it, such as `# R5.4` or `# R1.8, R1.9`. Run
`python -m support.reference_table` to write the table anew; a test holds it in step.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["BEHAVIOURS", "README", "proofs", "table", "table_in_readme"]

TESTS = Path(__file__).resolve().parent.parent
README = TESTS / "README.md"
BEGIN, END = "<!-- reference behaviours: begin -->", "<!-- reference behaviours: end -->"

BEHAVIOURS = {
    "R1.1": "what the server says in Start is read and shown",
    "R1.2": "mechanism, client properties and locale are sent in Start-Ok and visible",
    "R1.3": "challenge rounds are answered until both peers have enough",
    "R1.4": "the server's proposals in Tune are taken in",
    "R1.5": "channel-max, frame-max and heartbeat are negotiated by rule and shown",
    "R1.6": "the virtual host is opened",
    "R1.7": "a failure to open is classified",
    "R1.8": "Close in both directions, with code, text, class and method",
    "R1.9": "resources are released only after Close-Ok or a bounded wait",
    "R1.10": "blocked is shown with the broker's reason and since when",
    "R1.11": "unblocked is shown",
    "R1.12": "the live connection's secret is renewed",
    "R1.13": "update-secret-ok confirms it, a Close instead of it is a refusal",
    "R1.14": "a Close that we send because of an error names the method that caused it",
    "R2.1": "the client's ordered list of mechanisms decides",
    "R2.2": "no mechanism in common names both lists",
    "R2.3": "a locale is preferred, or selected by a list",
    "R2.4": "open is one operation with one overall time-out",
    "R2.5": "open only from the end of the handshake to the beginning of a close",
    "R2.6": "a server's close drops what is pending, is answered, and is told once",
    "R2.7": "closing what is not open says so and does not hang",
    "R2.8": "connection management and endpoint can be replaced one without the other",
    "R2.9": "nobody sends a password in the clear by accident",
    "R3.1": "a connection is usable at once, or waited for until it is connected",
    "R3.2": "one request, several before the first answer, or as the first answer shows",
    "R3.3": "several requests are in flight on one connection, and length counts them",
    "R3.4": "observers learn of every change of length and of closing",
    "R3.5": "shutdown takes no new calls and answers those there are",
    "R3.6": "close fails outstanding calls with the retryable error and repeats none",
    "R3.7": "the finaliser runs once, before waiting requests are failed",
    "R3.8": "closed unless connecting or open",
    "R3.9": "a call after closing fails at once with the retryable error",
    "R3.10": "no body of unknown length before the peer has shown that it takes one",
    "R3.11": "shutdown is a half-close with answers still read, which come without one, too",
    "R4.1": "the container id is as declared, or one of its own",
    "R4.2": "the virtual host goes into the host name of Open",
    "R4.3": "the idle time-out is twice the heartbeat, and the peer's own is kept and told",
    "R4.4": "SASL by the declared mechanisms, in clear text only where that is allowed",
    "R4.5": "the password is let go of when it has authenticated",
    "R4.6": "user, virtual host and heartbeat are told",
    "R4.7": "closed or broken, by whom: remote before local before transport",
    "R4.8": "senders and receivers are declared, and shown; a refused one says why",
    "R4.9": "what became of a message is told apart",
    "R4.11": "session windows are declared and shown",
    "R4.12": "source and target each have settings of their own",
    "R4.13": "at most once, at least once, and durable subscriptions, in one word",
    "R4.14": "waits of zero, of a limit, and for ever; waiting for credit is bounded",
    "R4.15": "a state that is not known is unknown, and what is sent settled is accepted",
    "R4.16": "what is received was asked for, and is accepted, rejected or released",
    "R4.17": "every endpoint tells its state and its last error; what is not provided is named",
    "R5.1": "the address is looked up again before every attempt",
    "R5.2": "events come in order, each handled before the next step",
    "R5.3": "repeated failures and addresses are reported once a cycle",
    "R5.4": "the retry delay spaces the starts of attempts",
    "R5.5": "time and randomness are injected",
    "R5.6": "one can wait for the first connection from now",
    "R5.7": "one can wait for the next result, whichever it is",
    "R5.8": "the current connection can be read at any time",
    "R5.9": "close ends the connection and all attempts, and is idempotent",
    "R5.10": "closed from the first call of close",
    "R5.11": "one can wait for the end without causing it",
    "R5.12": "a session can end together with its current connection",
    "R5.13": "several readers may follow the events, and none holds up the session or misses one",
    "R5.14": "a session has the server's name for people, in events and logs",
    "R5.15": "without randomness the declared delay is used to the letter",
}

_NUMBERS = re.compile(r"^\s*# (R\d+\.\d+(?:, R\d+\.\d+)*)\s*$")


def proofs() -> dict[str, list[str]]:
    """Return the tests that carry each number, as `path::name`."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for number, name in _marks(path.read_text(encoding="utf-8")):
            found.setdefault(number, []).append(f"{path.relative_to(TESTS)}::{name}")
    return found


def _marks(source: str) -> Iterator[tuple[str, str]]:
    """Yield each number with the test right behind it; decorators may stand in between."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if not node.name.startswith("test_"):
            continue
        first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        above = first - 2
        # Comments that say more may stand between the numbers and the test.
        while above >= 0 and lines[above].lstrip().startswith("#"):
            match = _NUMBERS.match(lines[above])
            if match:
                yield from ((number, node.name) for number in match[1].split(", "))
            above -= 1


def table() -> str:
    """Return the table in Markdown."""
    found = proofs()
    rows = ["| number | behaviour | tests |", "|---|---|---|"]
    for number, behaviour in BEHAVIOURS.items():
        tests = "<br>".join(f"`{test}`" for test in found.get(number, ["none"]))
        rows.append(f"| {number} | {behaviour} | {tests} |")
    return "\n".join(rows)


def table_in_readme() -> str:
    """Return the table as it stands in the README."""
    text = README.read_text(encoding="utf-8")
    return text.split(BEGIN, 1)[1].split(END, 1)[0].strip()


def main() -> None:
    """Write the table into the README."""
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    README.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()

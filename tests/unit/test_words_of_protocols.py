"""Only a protocol's own folder, the table of protocols and the models speak of what it alone has.

The core is written for any protocol, and so are those that show what it does. A word that only one
protocol has is the first sign that they are not. All words of a source are looked at: in names,
texts, docstrings and comments, in any spelling (`virtual_host`, `VirtualHost`, "virtual host").

Neutral are the words of fields at the top of a declaration, which mean the same in every protocol:
mechanism (SASL), heartbeat, client certificate, connection name. So are close, block, probe and
publish: what each protocol makes of them, its driver says. Names of the contract are not looked at,
such as the reason `VirtualHostNotFound`: they stand in `reasons.py` and in `api`.
"""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "operator" / "springline"

NOT_HELD = {
    "drivers": "each speaks of its protocol, and of what a peer speaks instead",
    "api": "fields of the contract have names that the first protocol gave them",
    "credentials": "tokens are made for a broker, and so are the lifetimes that it goes by",
    "endpoints": "so are the Secrets that say where it is",
    "protocols.py": "it is the table",
    "reasons.py": "reasons are of the contract",
}
"""Packages and modules that may have such words, and why. All others may not."""

WORDS = (
    # protocols, brokers and libraries
    *("amqps?", "amqplain", "amqp ?091", "amqp ?0 9 1", "rabbit ?mq", "rabbit", "aiormq", "pamqp"),
    # what a connection is for; `Place` here
    *("vhosts?", "virtual hosts?"),
    # what a probe does; `ProbeTarget` here
    *("exchanges?", "routing keys?", "own queue", "default exchange", "publisher confirms?"),
    # what is negotiated; `Negotiated` here
    *("locales?", "channels?", "channel max", "frames?", "frame max"),
    # methods and their codes; `Connection`, and `CloseInfo.codes` here
    *("update secret", "secret ok", "(?:start|tune|open|close|secure) ok", "connection start"),
    *("tune", "reply (?:code|text)s?", "class ids?", "method ids?"),
)
# What is written in one word is none the less the same.
_ANY = "|".join(sorted(WORDS, key=len, reverse=True)).replace(" ?", " ").replace(" ", " ?")
_FOUND = re.compile(rf"\b(?:{_ANY})\b")

# module, word: why it may stand there
ALLOWED = {
    ("kube/tokens.py", "rabbitmq"): "an example of an audience, which may be any word",
}


def sources() -> list[Path]:
    """The modules that are held to it."""
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in NOT_HELD
    ]


def passages(source: str) -> Iterator[tuple[int, str]]:
    """Yield what a source says, with the line that it begins in.

    What continues over lines comes in one piece: comments below each other, texts side by side.
    """
    kind, first, parts = 0, 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            continue
        if parts and not (token.type == kind and kind in (tokenize.COMMENT, tokenize.STRING)):
            yield first, " ".join(parts)
            parts = []
        if not parts:
            kind, first = token.type, token.start[0]
        parts.append(token.string.lstrip("#") if token.type == tokenize.COMMENT else token.string)
    if parts:
        yield first, " ".join(parts)


def plain(passage: str) -> str:
    """Return a passage in lower-case words: names are taken apart, marks become spaces."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", passage)
    apart = re.sub(r"(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])", " ", apart)
    return re.sub(r"[^a-z0-9]+", " ", apart.lower())


def words(source: str) -> list[tuple[int, str]]:
    """Return the words of protocols in a source, with their lines."""
    return [
        (line, match.group())
        for line, passage in passages(source)
        for match in _FOUND.finditer(plain(passage))
    ]


def module(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        pytest.param("virtual_host = 1", "virtual host", id="a name"),
        pytest.param("class VirtualHost: ...", "virtual host", id="a name of a class"),
        pytest.param("x = y.frameMax", "frame max", id="a name in a document"),
        pytest.param('"""Goes into the virtual\n    host."""', "virtual host", id="a docstring"),
        pytest.param("# sent by update-\n# secret", "update secret", id="a comment of two lines"),
        pytest.param('x = ("the routing " "key")', "routing key", id="a text of two parts"),
        pytest.param('x = f"{a}, vhost {b}"', "vhost", id="a text with values"),
        pytest.param("class AMQPDriver: ...", "amqp", id="an abbreviation in a name"),
        pytest.param("frame2 = 1", "frame", id="a number behind it"),
        pytest.param("virtualhost = 1", "virtualhost", id="written in one"),
        pytest.param("import amqp091", "amqp 091", id="an import"),
    ],
)
def test_a_word_is_found_however_it_is_written(source: str, found: str) -> None:
    assert [word for _, word in words(source)] == [found]


@pytest.mark.parametrize(
    "source",
    [
        "place = parameters.place",
        "# the heartbeat tells, with a mechanism of SASL",
        "framework = exchanged = fine_tuned = 1",
        'x = "the broker closes the connection"',
    ],
)
def test_words_of_every_protocol_are_none_of_these(source: str) -> None:
    assert words(source) == []


@pytest.mark.parametrize("path", sources(), ids=module)
def test_what_is_for_every_protocol_speaks_of_none(path: Path) -> None:
    found = words(path.read_text(encoding="utf-8"))
    assert [each for each in found if (module(path), each[1]) not in ALLOWED] == []


def test_what_is_allowed_is_there() -> None:
    there = {
        (module(path), word)
        for path in sources()
        for _, word in words(path.read_text(encoding="utf-8"))
    }
    assert ALLOWED.keys() == there

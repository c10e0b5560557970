"""Evaluate Erlang expressions in a running node, and write Python values as Erlang terms.

It does not know what RabbitMQ is, beyond taking `rabbitmqctl eval` where `erl_call` is missing:
both do the same, but `rabbitmqctl` boots an Erlang VM for it, which takes a hundred times as long.
"""

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ErlangError", "ErlangNode", "atom", "binary", "string"]

# The result travels as base64, so that no quoting of erl_call, rabbitmqctl or a terminal can bend
# it, and in pieces, because a longer Erlang string is encoded and hence printed as a list of
# numbers.
_WRAPPED = """
begin
  SpringlineAnswer = fun(SpringlineTag, SpringlineText) ->
    SpringlineCut = fun
      Cut(Rest) when length(Rest) =< 60000 -> [Rest];
      Cut(Rest) -> {{Piece, More}} = lists:split(60000, Rest), [Piece | Cut(More)]
    end,
    SpringlineBytes = unicode:characters_to_binary(SpringlineText),
    [SpringlineTag | SpringlineCut(base64:encode_to_string(SpringlineBytes))]
  end,
  try
    begin
      {expression}
    end
  of
    SpringlineValue -> SpringlineAnswer("value", {encode})
  catch
    SpringlineClass:SpringlineReason ->
      SpringlineAnswer("raised", io_lib:format("~0tp: ~0tp", [SpringlineClass, SpringlineReason]))
  end
end.
"""
_PRINTED = 'io_lib:format("~0tp", [SpringlineValue])'
_AS_JSON = "rabbit_json:encode(SpringlineValue)"
# erl_call prints `{ok, ["value", "..."]}`, rabbitmqctl the list alone; whatever else is an error.
_ANSWER = re.compile(
    r"""(?:\{ok,\s*)?
        \[ "(?P<tag>value|raised)" (?P<pieces> (?:\s*,\s*"[A-Za-z0-9+/=]*")+ ) \]
        \}?""",
    re.VERBOSE,
)

_calls = itertools.count(1)


class ErlangError(RuntimeError):
    """An expression could not be evaluated, or raised; the text is Erlang's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErlangNode:
    """A running node that can be asked things."""

    # Name with host, `name@host`.
    name: str
    # Names the home directory with the cookie, and the epmd port.
    env: Mapping[str, str]
    rabbitmqctl: Path

    def eval(self, expression: str, *, timeout: float = 30.0) -> str:
        """Evaluate an expression and return its value as Erlang prints it.

        Several expressions, separated by commas, have the value of the last one. Raises
        `ErlangError` where it cannot be evaluated, raises, or takes over `timeout` seconds.
        """
        return self._ask(expression, encode=_PRINTED, timeout=timeout)

    def eval_json(self, expression: str, *, timeout: float = 30.0) -> object:
        """Evaluate an expression whose value RabbitMQ can encode as JSON, and decode that."""
        value: object = json.loads(self._ask(expression, encode=_AS_JSON, timeout=timeout))
        return value

    def _ask(self, expression: str, *, encode: str, timeout: float) -> str:
        body = expression.strip().removesuffix(".")
        script = _escaped(_WRAPPED.format(expression=body, encode=encode))
        output = self._run(script, timeout=timeout)
        answer = _ANSWER.fullmatch(output.strip())
        if answer is None:
            raise ErlangError(output.strip() or f"{self.name} gave no answer")
        text = base64.b64decode(re.sub(r'[",\s]', "", answer["pieces"])).decode()
        if answer["tag"] == "raised":
            raise ErlangError(text)
        return text

    def _run(self, script: str, *, timeout: float) -> str:
        erl_call = shutil.which("erl_call")
        if erl_call is not None:
            # A node refuses a second caller of the same name. erl_call's own random names (-r) are
            # drawn so that calls made at the same time often get the same.
            caller = f"caller-{os.getpid()}-{next(_calls)}"
            command, given = [erl_call, "-h", caller, "-sname", self.name, "-e"], script
        else:
            command, given = [str(self.rabbitmqctl), "-q", "-n", self.name, "eval", script], ""
        try:
            done = subprocess.run(
                command,
                input=given,
                env=dict(self.env),
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ErlangError(f"{self.name} did not answer within {timeout} s") from error
        return done.stdout if done.stdout.strip() else done.stderr


def _escaped(script: str) -> str:
    """Escape what is not ASCII; erl_call would take its bytes for Latin-1."""
    return re.sub(r"[^\x00-\x7f]", lambda match: f"\\x{{{ord(match[0]):x}}}", script)


def binary(text: str) -> str:
    """Write text as an Erlang binary of its UTF-8 bytes, so that nothing ever needs quoting."""
    return f"<<{','.join(str(byte) for byte in text.encode())}>>"


def string(text: str) -> str:
    """Write text as an Erlang list of its UTF-8 bytes."""
    return f"[{','.join(str(byte) for byte in text.encode())}]"


def atom(text: str) -> str:
    """Write text as an expression that makes the atom of that name."""
    return f"binary_to_atom({binary(text)})"

"""The peer: connections of amqp091-go, held by a Go program that is built once into a cache."""

from pathlib import Path

from support.go_program import GoMissing, GoProgram

__all__ = ["GoMissing", "program"]

_PROGRAM = GoProgram("bench", Path(__file__).resolve().parent / "go")


def program() -> Path:
    """Return the program, built from the sources as they are. Raises `GoMissing`."""
    return _PROGRAM.build()

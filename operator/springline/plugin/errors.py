"""Why a command does not do what it was asked for, and the exit codes that tell it to scripts."""

import enum

from springline.errors import SpringlineError

__all__ = ["Exit", "PluginError"]


class Exit(enum.IntEnum):
    """How a command ends."""

    DONE = 0
    NOT_SO = 1  # what was waited for, or checked, did not come about
    UNUSABLE = 2  # it cannot be done as it was asked for: options, names, files
    CLUSTER = 3  # the cluster was not reached, or does not let it be done


class PluginError(SpringlineError):
    """A sentence for the person who called, and the exit code."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message, code)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        return self.message

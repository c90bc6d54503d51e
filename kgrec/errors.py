"""The errors a person can meet. Each message names the place (file, line or key) and says what to do next."""

from __future__ import annotations


class KgrecError(Exception):
    """Base of all errors that are the caller's to mend; the command line prints it as one line and exits with 1."""


class DataError(KgrecError):
    """An input file or table is missing, damaged, or does not say what its format promises.

    :param message: what is wrong and what to do about it
    :param path: the file or folder at fault
    :param line: 1-based line number inside ``path``
    """

    def __init__(self, message: str, *, path: object = None, line: int | None = None) -> None:
        place = "" if path is None else (f"{path}: " if line is None else f"{path}, line {line}: ")
        super().__init__(place + message)
        self.path = path
        self.line = line


class ConfigError(KgrecError):
    """A parameter is misspelt, out of range, or contradicts another one."""


class EncoderUnavailable(KgrecError):
    """The encoder a recipe names cannot be had on this machine; the message lists the choices."""


class CheckpointError(KgrecError):
    """A checkpoint or model folder is corrupted, incomplete, or was written for another model or data."""


class NotFittedError(KgrecError):
    """A model was asked for scores before it was fitted or loaded."""


class TrainingError(KgrecError):
    """Training cannot go on: a non-finite loss, an empty training set, a graph without edges."""

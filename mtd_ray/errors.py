"""Errors that a person must act on.

Every error this project raises on purpose derives from :class:`MtdError`. Its message says what was wrong, where, and what
to do; jobs print the message alone (no stack trace) and exit with ``exit_code``. Anything else that escapes is a bug and keeps
its stack trace.
"""


class MtdError(Exception):
    """Base of all errors whose message is meant for the person who runs the job."""

    exit_code = 1


class RecipeError(MtdError):
    """The recipe, an override or a secret reference is wrong; nothing was started."""

    exit_code = 2


class StorageError(MtdError):
    """The object store cannot be reached, refuses access, or the bucket or object is missing."""


class HubError(StorageError):
    """The Hugging Face hub does not answer, is busy or fails: what may pass."""


class CorpusError(MtdError):
    """The texts cannot be read, or nothing usable is left of them."""


class TargetError(MtdError):
    """Stored target vectors are missing, damaged, or do not belong to the texts they stand beside."""


class TrainingError(MtdError):
    """Training cannot go on (a value that is not finite) or did not do what it must (no gain over the untrained student)."""


class EvaluationError(MtdError):
    """A model or a task cannot be evaluated."""

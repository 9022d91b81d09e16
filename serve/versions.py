"""Several versions of one model side by side: who asks gets which.

A flow (an API key, or the ``user`` of a request) always gets the same version, on every replica and after every restart: vectors of
two students cannot be compared, so a client that got some of each could not use either. A change of shares moves no more flows than
it must. This is weighted rendezvous hashing: each version draws a number from the flow's name, and the largest wins.
Source: Schindelhauer, Schomaker, "Weighted Distributed Hash Tables", SPAA 2005.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b

from serve.options import ModelOptions, VersionOptions


class Versions:
    """From the model that is asked for, and who asks, to the student that answers.

    Args:
        models: what is served.
    """

    def __init__(self, models: Sequence[ModelOptions]) -> None:
        self._versions = {model.called: model.versions for model in models}

    def choose(self, model: str, flow: str) -> str:
        """The student, as :meth:`ModelOptions.students` calls it.

        Args:
            model: one of the models.
            flow: who asks; "" gets the version of the largest share.
        """
        versions = self._versions[model]
        return f"{model}@{_version(versions, model, flow).name}" if versions else model


def _version(versions: Sequence[VersionOptions], model: str, flow: str) -> VersionOptions:
    if not flow:
        return max(versions, key=lambda version: version.share)
    return max(versions, key=lambda version: -version.share / math.log(_draw(model, version.name, flow)))


def _draw(model: str, version: str, flow: str) -> float:
    """A number strictly between 0 and 1 that depends on the three names alone."""
    digest = blake2b("\0".join((model, version, flow)).encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return (int.from_bytes(digest) + 0.5) / 2**48

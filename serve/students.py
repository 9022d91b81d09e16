"""The students of a service: that they stay the same ones, and that they are loaded."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from mtd_ray.errors import MtdError
from mtd_ray.fetched import folder_content, student_content, student_folder
from serve.engine.model import ServedModel
from serve.options import ModelOptions, Options

_LOG = logging.getLogger(__name__)


def contents_of(options: Options) -> dict[str, str]:
    """Digest of each student's content by its place, as it is now; of one that cannot be read from here there is none."""
    found = {}
    for place in dict.fromkeys(place for model in options.served for _, place in model.students()):
        try:
            found[place] = student_content(place)
        except MtdError as error:
            _LOG.warning("replicas started later will not notice if %s is replaced, as it cannot be read here: %s", place, error)
    return found


def load_students(
    options: Options, *, contents: Mapping[str, str] | None = None, default_device: str | None = None
) -> dict[str, ServedModel]:
    """Every student of every model, by what answers call it.

    Args:
        contents: as :func:`contents_of` gave them when the service was deployed.
        default_device: of models for which none is chosen; None takes a GPU when there is one.

    Raises:
        MtdError: one is missing, damaged or cannot be served, is another one by now, or has no prompt that ``input_types`` names.
    """
    pinned = contents or {}
    return {
        key: _load(place, model, pinned.get(place), model.device or default_device)
        for model in options.served
        for key, place in model.students()
    }


def _load(place: str, model: ModelOptions, content: str | None, device: str | None) -> ServedModel:
    folder = student_folder(place)
    if content is not None and folder_content(folder) != content:
        raise MtdError(
            f"{place} holds another student than when the service was deployed, or this machine has another copy: two students "
            "behind one name would mix their vectors. Put the new one at a place of its own, and deploy that"
        )
    student = ServedModel.load(
        folder,
        name=model.called,
        device=device,
        dtype=model.dtype,
        backend=model.backend,
        batch_tokens=model.batch_tokens,
        compiled=model.compiled,
    )
    known = student.prompts
    if strange := sorted(set(model.input_types.values()) - set(known)):
        names = ", ".join(sorted(known)) or "none"
        raise MtdError(f"input_types of {model.called}: {place} has no prompt {strange[0]!r}; its prompts: {names}")
    student.prompts = known | {kind: known[prompt] for kind, prompt in model.input_types.items()}
    return student

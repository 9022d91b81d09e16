"""The students of a service, loaded."""

from __future__ import annotations

from mtd_ray.errors import MtdError
from serve.engine.model import ServedModel
from serve.options import ModelOptions, Options
from serve.source import student_folder


def load_students(options: Options) -> dict[str, ServedModel]:
    """Every student of every model, by what answers call it.

    Raises:
        MtdError: one is missing, damaged or cannot be served, or has no prompt that ``input_types`` names.
    """
    return {key: _load(place, model) for model in options.served for key, place in model.students()}


def _load(place: str, model: ModelOptions) -> ServedModel:
    with student_folder(place) as folder:
        student = ServedModel.load(
            folder,
            name=model.called,
            device=model.device,
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

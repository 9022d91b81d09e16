"""The student that embeds: where its folder is on this machine, what it is, and its encoder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtd_ray.embed.options import EmbedOptions
from mtd_ray.encoder.prompts import prompt_for
from mtd_ray.errors import MtdError
from mtd_ray.fetched import folder_content, student_folder

if TYPE_CHECKING:
    from mtd_ray.encoder import Encoder


@dataclass(frozen=True)
class Student:
    """What every worker must find: the same content at the same place.

    Attributes:
        place: a folder, or the ``s3://`` URL of a run or of its student.
        content: digest of all files that may decide its vectors.
        size: of the vectors that are asked for.
        head: size of the head that gives them; of a nested student it may be larger, and its vectors are cut.
        prompt: what stands before every text.
    """

    place: str
    content: str
    size: int
    head: int
    prompt: str


def find_student(place: str, options: EmbedOptions) -> Student:
    """The student at a place, with the size and the prompt that are asked for.

    Raises:
        MtdError: it is not there or damaged, or has no such size or prompt.
    """
    folder = student_folder(place)
    size, head = _size_and_head(folder, options.size)
    everywhere = place if place.startswith("s3://") else str(folder)
    return Student(everywhere, folder_content(folder), size, head, _prompt(folder, options))


def open_encoder(student: Student, options: EmbedOptions) -> Encoder:
    """The student's encoder on this machine.

    Raises:
        MtdError: it is not here, or was replaced meanwhile.
    """
    from mtd_ray.encoder import Encoder

    folder = student_folder(student.place)
    if folder_content(folder) != student.content:
        raise MtdError(f"{student.place} is another student than when this began, or a machine has another copy: run it again")
    return Encoder.load(
        str(folder),
        max_tokens=None,
        head=student.head,
        device=None if options.gpus else "cpu",  # a worker that asked Ray for no GPU sees all of its machine's
        dtype=options.compute_dtype,
        backend=options.backend,
        batch_tokens=options.batch_tokens,
    )


def _size_and_head(folder: Path, wanted: int | None) -> tuple[int, int]:
    """The size that is asked for, and the head that gives it: of nested heads a larger one, whose vectors are cut."""
    from mtd_ray.encoder.heads import are_nested, default_size, head_sizes, load_head

    sizes, default = head_sizes(folder), default_size(str(folder))
    if not sizes or default is None:
        raise MtdError(f"{folder} is not an exported student: it has no head folder 2_Dense_SIZE that modules.json names")
    size = default if wanted is None else wanted
    head = next((head for head in sizes if head >= size), 0)
    if size > 0 and (size == head or (head and are_nested({size: load_head(str(folder), size) for size in sizes}))):
        return size, head
    raise MtdError(f"the student has no vectors of {size} numbers; it has {', '.join(map(str, sizes))}")


def _prompt(folder: Path, options: EmbedOptions) -> str:
    about = folder / "config_sentence_transformers.json"
    prompts = (json.loads(about.read_text(encoding="utf-8")).get("prompts") or {}) if about.is_file() else {}
    name = options.prompt_name
    if name is None:
        return prompt_for(prompts, options.input_type)
    if name and name not in prompts:
        raise MtdError(f"the student has no prompt {name!r}; it has {', '.join(sorted(prompts)) or 'none'}")
    return prompts[name] if name else ""

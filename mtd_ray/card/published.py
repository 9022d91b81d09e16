"""What a card says once the folder has an address, and files beside those that were measured."""

from __future__ import annotations

from pathlib import Path

from mtd_ray.card.usage import ADDRESS
from mtd_ray.export import exported_dtype
from mtd_ray.export.variants import FILES, NEEDS, Variant


def published_card(markdown: str, folder: Path, address: str | None, measured: str) -> str:
    """The card of a folder that is about to be published.

    Args:
        markdown: of the run's student.
        folder: what is published.
        address: what sentence-transformers loads it by; None leaves that to the reader.
        measured: dtype in which the weights that were measured are stored.
    """
    dtype, notes = exported_dtype(folder), []
    if dtype != measured:
        notes.append(f"The weights here are stored in {dtype}; those that were measured are stored in {measured}.")
    if dtype != "float32":
        notes.append(
            f"A plain load computes in {dtype}. What was measured was computed in float32, which "
            '`model_kwargs={"dtype": "float32"}` does here too.'
        )
    notes += [_variant(backend, file) for backend, file in FILES.items() if (folder / file).is_file()]
    added = "\n## Files\n\n" + "\n\n".join(notes) + "\n" if notes else ""
    call = 'SentenceTransformer("{}"'
    return (markdown + added).replace(call.format(ADDRESS), call.format(address or ADDRESS))


def _variant(backend: Variant, file: str) -> str:
    return (
        f"`{file}`: 8-bit weights for CPUs. Not measured; its vectors are slightly off. Needs "
        f"`pip install '{NEEDS[backend]}'`:\n\n"
        "```python\n"
        f'model = SentenceTransformer("{ADDRESS}", backend="{backend}", model_kwargs={{"file_name": "{file}"}})\n'
        "```"
    )

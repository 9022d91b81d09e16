"""What a card says once the folder has an address, and files beside those that were measured."""

from __future__ import annotations

from pathlib import Path

from mtd_ray.card.usage import ADDRESS
from mtd_ray.export import exported_dtype
from mtd_ray.export.variants import FILES


def published_card(markdown: str, folder: Path, address: str | None, measured: str) -> str:
    """The card of a folder that is about to be published.

    Args:
        markdown: of the run's student.
        folder: what is published.
        address: what sentence-transformers loads it by; None leaves that to the reader.
        measured: dtype of the weights that were measured.
    """
    dtype, notes = exported_dtype(folder), []
    if dtype != measured:
        notes.append(f"The weights are stored in {dtype}; they were measured in {measured}.")
    notes += [_variant(backend, file) for backend, file in FILES.items() if (folder / file).is_file()]
    added = "\n## Files\n\n" + "\n\n".join(notes) + "\n" if notes else ""
    call = 'SentenceTransformer("{}"'
    return (markdown + added).replace(call.format(ADDRESS), call.format(address or ADDRESS))


def _variant(backend: str, file: str) -> str:
    return (
        f"`{file}`: 8-bit weights for CPUs. Not measured; its vectors are slightly off. Needs "
        f"`pip install 'sentence-transformers[{backend}]'`:\n\n"
        "```python\n"
        f'model = SentenceTransformer("{ADDRESS}", backend="{backend}", model_kwargs={{"file_name": "{file}"}})\n'
        "```"
    )

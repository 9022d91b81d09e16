"""Send a run's exported student to object storage or to a hub, as it was measured or in another dtype, with 8-bit variants.

Needs neither a cluster nor the teachers' keys; the run must be trained and exported.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mtd_ray import job, layout
from mtd_ray.card.published import published_card
from mtd_ray.config import Recipe, load_recipe
from mtd_ray.distill import final_student
from mtd_ray.export import export_student, exported_dtype
from mtd_ray.export.destination import destination
from mtd_ray.export.variants import VARIANTS, add_variant
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import fetch_folder


def main(arguments: Sequence[str]) -> None:
    given = _parser().parse_intermixed_args(arguments)
    recipe = load_recipe(given.recipe, [*given.overrides, *_overrides(given)])
    to = destination(given.to, recipe.storage)
    with tempfile.TemporaryDirectory(prefix="mtd-ray-export-") as scratch:
        folder = Path(scratch) / "student"
        measured = _bring(ObjectStore.open(recipe.storage), recipe, folder)
        for variant in dict.fromkeys(given.variant):
            print(f"{variant:<9} lowest cosine to the exported weights {add_variant(folder, variant):.4f}")
        card = folder / "README.md"
        card.write_text(published_card(card.read_text(encoding="utf-8"), folder, to.address, measured), encoding="utf-8")
        print(f"exported  {to.send(folder)}")


def _parser() -> argparse.ArgumentParser:
    parser = job.recipe_arguments(__doc__ or "")
    parser.add_argument("--to", required=True, metavar="URL", help="s3://bucket/prefix, hub:OWNER/NAME or an absolute folder")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="of the weights; the recipe's export.dtype by default")
    parser.add_argument(
        "--variant", action="append", choices=VARIANTS, default=[], help="add 8-bit weights for CPUs; may be given several times"
    )
    parser.add_argument(
        "--accept-non-commercial",
        action="store_true",
        help="export a student that may not be used commercially (export.accept_non_commercial)",
    )
    return parser


def _overrides(given: argparse.Namespace) -> list[str]:
    dtype = [f"export.dtype={given.dtype}"] if given.dtype else []
    return [*dtype, "export.accept_non_commercial=true"] if given.accept_non_commercial else dtype


def _bring(store: ObjectStore, recipe: Recipe, folder: Path) -> str:
    """Make the folder: the one that was measured or, in another dtype, the same student from its last checkpoint.

    Returns:
        The dtype that was measured.
    """
    fetch_folder(store, layout.run_student(recipe.run_name), folder)
    measured = exported_dtype(folder)
    if measured != recipe.export.dtype:
        as_measured = folder.rename(folder.with_name("as-measured"))
        export_student(final_student(store, recipe), folder, card=None, dtype=recipe.export.dtype)
        (as_measured / "README.md").rename(folder / "README.md")
    return measured


if __name__ == "__main__":
    job.run(main)

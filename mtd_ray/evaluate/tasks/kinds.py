"""The types of tasks of one's own: what mteb calls them, and what their files hold."""

from __future__ import annotations

from dataclasses import dataclass

from mtd_ray.evaluate.tasks.places import OWN_SPLIT

_PAIR = ("sentence1", "sentence2")


@dataclass(frozen=True)
class OwnKind:
    """A type of task.

    Attributes:
        type: mteb's name of it.
        texts: columns of texts; empty for retrieval, whose tables are several.
        gold: column of what is to be found.
        splits: tables that it needs; the last one is scored.
    """

    type: str
    texts: tuple[str, ...] = ()
    gold: str = ""
    splits: tuple[str, ...] = (OWN_SPLIT,)


OWN_KINDS = {
    "retrieval": OwnKind("Retrieval"),
    "sts": OwnKind("STS", _PAIR, "score"),
    "pair_classification": OwnKind("PairClassification", _PAIR, "label"),
    "classification": OwnKind("Classification", ("text",), "label", ("train", OWN_SPLIT)),
    "clustering": OwnKind("Clustering", ("text",), "label"),
}
"""By their names in a recipe."""

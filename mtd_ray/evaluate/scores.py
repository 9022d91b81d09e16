"""What one measurement gives: a main score, and what it is made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

ItemKind = Literal["query", "pair", "experiment", "set"]


@dataclass(frozen=True)
class TaskScore:
    """A model's score on a task, in one view of its vectors.

    Attributes:
        main: mteb's main score, 0 to 1 (a correlation: −1 to 1).
        kind: what an item is: a ``query`` (its nDCG@10, or what the task's main score is), a ``pair`` of texts (the cosine), an
            ``experiment`` of a classification (its accuracy, or main score), a ``set`` of a clustering (its v-measure). Empty where
            the task is of another type.
        items: one number each. ``main`` is the mean over ``groups`` of the mean of their items; for pairs, of Spearman's rank
            correlation of items and ``gold``.
        gold: for pairs, what people judged; else empty.
        groups: per item, the number of its subset (language) of the task.
        lengths: per query, tokens of its longest relevant document; per pair, of its longer text; else empty. Counted by the
            measured student's tokenizer, without prompt, not cut.
        prompts: side (``query``, ``document``, or ``""`` where both are alike) → what stood before the texts.
        mteb: the whole result as mteb writes it (``TaskResult.to_dict()``).
        failed: texts of the task whose vector is all zeros, because the model could not embed them; a text counts for each side it
            stands on.
    """

    main: float
    kind: ItemKind | Literal[""] = ""
    items: tuple[float, ...] = ()
    gold: tuple[float, ...] = ()
    groups: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()
    prompts: dict[str, str] = field(default_factory=dict)
    mteb: dict[str, Any] = field(default_factory=dict)
    failed: int = 0

    def to_json(self) -> dict[str, Any]:
        """What :meth:`from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TaskScore:
        """Read :meth:`to_json`'s value."""
        lists = {key: tuple(value[key]) for key in ("items", "gold", "groups", "lengths")}
        failed = value.get("failed", 0)  # which older records do not have
        return cls(main=value["main"], kind=value["kind"], prompts=value["prompts"], mteb=value["mteb"], failed=failed, **lists)

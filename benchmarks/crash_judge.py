"""What ``harvest_crash.py`` finds in a store after a harvest that was killed: rows, hashes, left-over files, keys."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mtd_ray import layout
from mtd_ray.config import load_recipe, teacher_fingerprint
from mtd_ray.corpus import load_manifest, read_shard
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import PartCommit, decode_vectors
from mtd_ray.targets.sweep import sweep


@dataclass
class Verdict:
    """What all runs came to.

    Attributes:
        struck: runs by what was killed in them.
        struck_under_cap: runs in which it was killed under a cap below the price of the harvest.
        over_cap: harvests after which the provider had been paid more than the cap that was in force.
        left_over: data files without a commit and micro-parts that finished harvests had left behind.
        orphans: those of them that one more sweep did not remove.
    """

    runs: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    struck_under_cap: int = 0
    missing: int = 0
    duplicated: int = 0
    hash_mismatch: int = 0
    repaid_rows: list[int] = field(default_factory=list)
    over_cap: int = 0
    left_over: int = 0
    orphans: int = 0

    def judge(self, recipe_file: Path, hashes: dict[str, str]) -> None:
        """Compare a finished harvest's store with the corpus and with ``hashes``, those of a harvest nobody disturbed."""
        recipe = load_recipe(recipe_file, [])
        store = ObjectStore.open(recipe.storage)
        teacher = teacher_fingerprint(recipe.teachers["paid"])
        texts = {name for shard in load_manifest(store, recipe).shards for name in read_shard(store, shard)["id"].to_pylist()}
        found: Counter[str] = Counter()
        for key, commit in _commits(store, teacher):
            data = store.get(commit.file)
            self.hash_mismatch += not hashlib.sha256(data).hexdigest() == commit.sha256 == hashes.get(key)
            decoded = decode_vectors(data)
            found.update(name for name, valid in zip(decoded.ids, decoded.valid, strict=True) if valid)
        self.missing += len(texts - set(found))
        self.duplicated += found.total() - len(found) + len(set(found) - texts)
        if left := _left_over(store, teacher):
            self.left_over += len(left)
            sweep(store, teacher)
            self.orphans += len(_left_over(store, teacher))

    def in_words(self) -> str:
        """What was killed, and what became of money and files."""
        struck = ", ".join(f"{victim} {count}" for victim, count in sorted(self.struck.items()))
        files = f"{self.left_over} files left over by finished harvests, after another sweep {self.orphans}"
        return f"killed: {struck}; {sum(self.repaid_rows)} rows paid again in all; {files}"

    def figures(self) -> dict[str, int]:
        """By the names that stand in the benchmark's last line."""
        alike = ("runs", "missing", "duplicated", "hash_mismatch", "over_cap", "struck_under_cap", "left_over", "orphans")
        return {name: getattr(self, name) for name in alike} | {
            "repaid_rows_max": max(self.repaid_rows),
            "not_struck": self.struck["nobody"],
        }


def stored_hashes(recipe_file: Path) -> dict[str, str]:
    """Key of a commit → sha256 of its data file."""
    recipe = load_recipe(recipe_file, [])
    commits = _commits(ObjectStore.open(recipe.storage), teacher_fingerprint(recipe.teachers["paid"]))
    return {key: commit.sha256 for key, commit in commits}


def key_hits(store: ObjectStore, files: Iterable[Path], keys: Sequence[str]) -> int:
    """How many objects and files hold one of the keys."""
    objects = [info.key for info in store.list()]
    files = [path for path in files if path.is_file()]
    hits = [key for key in objects if _holds(store.get(key), keys)]
    for path in files:
        with contextlib.suppress(OSError):
            hits += [str(path)] if _holds(path.read_bytes(), keys) else []
    print(f"searched {len(objects)} objects and {len(files)} files for the keys of storage and provider: {hits or 'none'}")
    return len(hits)


def _commits(store: ObjectStore, teacher: str) -> Iterator[tuple[str, PartCommit]]:
    for info in store.list(layout.part_commits(teacher)):
        yield info.key, PartCommit.from_json(store.get(info.key))


def _left_over(store: ObjectStore, teacher: str) -> list[str]:
    committed = {commit.file for _, commit in _commits(store, teacher)}
    files = [info.key for prefix in (layout.parts_data(teacher), layout.parts_micro(teacher)) for info in store.list(prefix)]
    return [key for key in files if key not in committed]


def _holds(data: bytes, keys: Sequence[str]) -> bool:
    return any(key.encode() in data for key in keys)

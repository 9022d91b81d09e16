"""Keys of different things never meet, and the same thing always has the same key."""

from __future__ import annotations

from mtd_ray import layout

DIGEST = "0123456789abcdef" * 4


def test_attempts_of_a_part_differ_and_its_commit_does_not() -> None:
    first, second = (layout.part_data(DIGEST, DIGEST, 3, attempt) for attempt in ("a", "b"))
    assert first != second
    assert layout.part_commit(DIGEST, DIGEST, 3).startswith(layout.part_commits(DIGEST) + "/")
    assert not first.startswith(layout.part_commits(DIGEST))


def test_a_runs_keys_stay_inside_the_run() -> None:
    keys = [
        layout.run_recipe("r"), layout.run_checkpoint("r", 1, 20), layout.run_metrics("r"), layout.run_student("r"),
        layout.run_untrained("r"), layout.run_report("r"), layout.run_finished("r"),
    ]  # fmt: skip
    assert all(key.startswith("runs/r/") for key in keys)
    assert len(set(keys)) == len(keys)


def test_evaluation_vectors_are_kept_per_teacher_manner_and_chunk() -> None:
    names = (DIGEST, DIGEST[::-1])
    keys = {layout.kept_vectors(teacher, manner, chunk) for teacher in names for manner in names for chunk in names}
    assert len(keys) == 8
    texts = layout.kept_texts(DIGEST, DIGEST, DIGEST)
    assert texts.startswith(layout.kept_chunks(DIGEST, DIGEST) + "/")
    assert layout.chunk_of_texts(texts) == layout.short(DIGEST)
    assert layout.chunk_of_texts(layout.kept_vectors(DIGEST, DIGEST, DIGEST)) is None


def test_checkpoints_sort_in_the_order_they_were_made() -> None:
    made = [layout.run_checkpoint("r", stage, step) for stage, step in ((0, 9), (0, 100), (1, 0), (1, 20), (10, 5))]
    assert made == sorted(made)


def test_states_are_kept_per_trunk_and_shard_beside_what_the_trunk_is() -> None:
    other = DIGEST[::-1]
    keys = {layout.trunk_states(trunk, shard) for trunk in (DIGEST, other) for shard in (DIGEST, other)}
    assert len(keys) == 4
    assert all(key.startswith((layout.trunk(DIGEST), layout.trunk(other))) for key in keys)
    assert layout.trunk_description(DIGEST) not in keys

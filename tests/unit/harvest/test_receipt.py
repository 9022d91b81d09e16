from __future__ import annotations

import numpy as np
import pytest

from mtd_ray.harvest.receipt import read_commits, require_few_failures
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import parts_of, write_part
from mtd_ray.teachers import TeacherError
from tests.tiny_corpus import tiny_texts, write_corpus

FINGERPRINT = "ab" * 32


def test_too_many_failed_rows_are_an_error_with_examples(local_store: ObjectStore) -> None:
    manifest = write_corpus(local_store, tiny_texts(8), shard_rows=8)
    parts = parts_of(manifest, 4)
    for part in parts:
        ids = [f"t{row}" for row in range(part.start, part.stop)]
        vectors = np.ones((4, 2), np.float32)
        write_part(local_store, FINGERPRINT, part, ids, vectors, {2: "HTTP 400: too long"}, tokens=1, requests=1, seconds=0.1)
    commits = read_commits(local_store, FINGERPRINT, parts)
    assert [commit.part_start for commit in commits] == [0, 4]
    require_few_failures(local_store, "paid", commits, max_share=0.25)
    with pytest.raises(TeacherError) as caught:
        require_few_failures(local_store, "paid", commits, max_share=0.2)
    message = str(caught.value)
    assert "2 of 8 texts (25.0%)" in message
    assert "row t2: HTTP 400: too long" in message
    assert "row t6: HTTP 400: too long" in message
    assert "harvest.max_failed_share" in message

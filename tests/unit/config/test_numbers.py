"""Number formats that would quietly cost quality."""

from pathlib import Path

from mtd_ray.config.rules import broken_rules
from mtd_ray.objects import ObjectStore
from tests.tiny_run import tiny_recipe


def test_bfloat16_without_a_float32_copy_of_the_weights_is_refused(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    unmeasured = {"heldout": False}
    faults = broken_rules(tiny_recipe(store, "unused", evaluate=unmeasured, train={"dtype": "bfloat16", "zero_stage": 0}))
    assert [fault.partition(":")[0] for fault in faults] == ["train.zero_stage"]
    assert broken_rules(tiny_recipe(store, "unused", evaluate=unmeasured, train={"dtype": "bfloat16", "zero_stage": 1})) == []

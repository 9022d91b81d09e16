"""What a person sees while training goes on."""

import io
from dataclasses import replace

from mtd_ray.distill.numbers.metrics import StepMetrics
from mtd_ray.distill.numbers.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def metrics(step: int, stage: str = "head", **changed: float) -> StepMetrics:
    return replace(StepMetrics(stage, step, 10, 1.25, {}, 1e-3, 2.0, 30.0, 900.0, 0.1, 0.02, 75.0, 0.0, None, 1.5, 0.0), **changed)


def test_a_file_gets_a_line_every_few_seconds_and_the_end_of_each_stage() -> None:
    now = 100.0
    stream = io.StringIO()
    progress = Progress(["head", "all"], stream=stream, clock=lambda: now)
    for step, later in ((1, 0), (2, 1), (2, 5), (3, 5), (10, 1)):
        now += later
        progress.show(metrics(step))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "distil  stage 1/2 head, step 1/10, ETA 1:15, loss 1.2500, 30 samples/s"
    assert [line.split(", ")[1] for line in lines] == ["step 1/10", "step 2/10", "step 3/10", "step 10/10"]


def test_a_terminal_has_one_line_per_stage_that_changes_in_place() -> None:
    stream = Terminal()
    progress = Progress(["head", "all"], stream=stream, clock=lambda: 0.0)
    for step in (1, 2, 2, 10):
        progress.show(metrics(step))
    progress.show(metrics(1, "all"))
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().count("\r") == 4


def test_only_what_wants_a_persons_attention_is_added() -> None:
    stream = io.StringIO()
    progress = Progress(["head"], stream=stream, clock=lambda: 0.0)
    progress.evaluated(0.71234)
    progress.show(metrics(10, wait_share=0.12, missing_share=0.003, share_of_peak=0.47))
    assert stream.getvalue() == (
        "distil  stage 1/1 head, step 10/10, loss 1.2500, score 71.23, data wait 12%, missing targets 0.30%, 30 samples/s, "
        "47% of peak\n"
    )

"""What a recipe says about measuring: tasks, baselines, what must be reached, and the folder that is published."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mtd_ray.config.base import Dimension, Frozen, Name, PositiveFloat

Form = Literal["float32", "int8", "binary", "cut", "pca"]
ExportDtype = Literal["float32", "bfloat16"]
Share = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Score = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class OwnTask(Frozen):
    """A task of one's own: the type decides how it is scored, ``path`` is a folder or ``s3://`` prefix with its Parquet files."""

    type: Literal["retrieval", "sts", "pair_classification", "classification", "clustering"]
    path: str


class EvaluateConfig(Frozen):
    """What the student is measured on, beside what, and in which forms.

    ``heldout`` are the held-out pairs of the corpus, which only a corpus of docstrings has; ``pairs`` are Parquet files of your own
    with the columns ``query`` and ``passage``, whose texts are removed from the corpus. ``tasks`` and ``benchmarks`` are names that
    mteb knows; their data comes from the hub or, for every task that has a folder of its name in ``data``, from the Parquet files
    there. ``own`` are further tasks from Parquet files. ``heldout: false`` without any of these: the student is not measured.

    ``prompts`` names, per mteb task type and side (``Retrieval-query``, ``STS``), which of ``student.prompts`` a text gets; left
    out, retrieval queries get ``s2p_query`` or ``query``, documents ``passage`` or ``document``, all other texts ``s2s_query`` or
    ``sentence``, where the student has such prompts; an empty name is no prompt.

    ``baselines: false`` leaves teachers out. ``forms`` are the forms in which the student's vectors are measured on retrieval and
    similarity: ``float32`` as they come, ``int8`` and ``binary`` quantised, ``cut`` and ``pca`` the largest head made as short as
    the smaller ones. ``machine_usd_per_hour`` is what a worker's share of its machine costs (``train.num_cpus``,
    ``train.num_gpus``), on which the speed of embedding is measured; left out, the report gives texts per second and no dollars.
    """

    heldout: bool = True
    pairs: dict[Name, str] = Field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    benchmarks: tuple[str, ...] = ()
    data: str | None = None
    own: dict[Name, OwnTask] = Field(default_factory=dict)
    prompts: dict[str, str] = Field(default_factory=dict)
    baselines: bool = True
    forms: tuple[Form, ...] = ("float32", "int8", "binary", "cut", "pca")
    machine_usd_per_hour: PositiveFloat | None = None


def _sizes_from_yaml(value: Any) -> Any:
    """YAML keys may be numbers or, from JSON, texts."""
    return {int(key) if str(key).isdigit() else key: share for key, share in value.items()} if isinstance(value, dict) else value


class Requirements(Frozen):
    """What the student must reach, or the job fails: at its default size, on the tasks of the evaluation.

    ``retained``: mean score as a share of the best teacher's. ``gap_closed``: share of the way from the untrained student to the
    best teacher. ``heads``: per size, its mean as a share of the largest size's. ``tasks``: per task, a score from 0 to 100.
    """

    retained: Share | None = None
    gap_closed: Share | None = None
    heads: Annotated[dict[Dimension, Share], BeforeValidator(_sizes_from_yaml)] = Field(default_factory=dict)
    tasks: dict[str, Score] = Field(default_factory=dict)


class ExportConfig(Frozen):
    """The folder that is published.

    ``accept_non_commercial``: the student of a teacher or backbone whose licence forbids commercial use is exported only with this
    word, for the licence follows the student.
    """

    dtype: ExportDtype = "float32"
    accept_non_commercial: bool = False

"""Every key the system writes, in one place.

```
corpora/<corpus>/manifest.json                       shards, counts, hashes; written last
corpora/<corpus>/shards/00000.parquet                id, text, kind
corpora/<corpus>/pairs/<task>.parquet                evaluation pairs: query, passage
targets/<teacher>/teacher.json                       what the fingerprint stands for
targets/<teacher>/data/<shard>/<part>.<attempt>.parquet
targets/<teacher>/commit/<shard>/<part>.json         a part exists when, and only when, this object exists
targets/<teacher>/micro/<shard>/<part>/<attempt>-<sha256>.parquet   answered rows of a part that is not committed yet
targets/<teacher>/spending/<claim>.json              dollars claimed by one incarnation of the budget, before they are spent
bases/<basis>.safetensors                            strongest directions of some teachers' fused targets
trunks/<trunk>/trunk.json                            what the fingerprint stands for
trunks/<trunk>/states/<shard>.f32                    what a frozen trunk makes of a shard's texts
harvests/<recipe>/<time>.json, .md                   receipts of harvests
evaluations/<teacher>/<manner>/<chunk>.safetensors   a teacher's vectors of evaluation texts: asked for, and paid, once
evaluations/<teacher>/<manner>/<chunk>.texts         the texts' digests; a chunk exists when, and only when, this object exists
evaluations/<teacher>/<manner>/<chunk>.failed        digests of texts that it has no vector of, with the reason
scores/<model>/<task>.json                           a model's scores on a task: measured once, whatever run asks
scores/<model>/bases-<texts>.safetensors             strongest directions of a model's vectors of some texts
runs/<run>/recipe.json                               the recipe as run
runs/<run>/checkpoints/<stage>-<step>/<attempt>/…    files, and `rank-<rank>.json` of each worker that has written its own
runs/<run>/checkpoints/<stage>-<step>/commit.json    a checkpoint exists when, and only when, this object exists
runs/<run>/checkpoints/<stage>-<step>/score.json     what its weights scored on the evaluation pairs
runs/<run>/checkpoints/<stage>-<step>/scoring.json   its weights are being measured: it must not be deleted now
runs/<run>/metrics.jsonl, runs/<run>/tensorboard/…
runs/<run>/student/…                                 the exported folder, then `manifest.json`
runs/<run>/untrained/…                               the same student before its first step
runs/<run>/exported.json                             what was exported: checkpoint, seconds of training, dtype
runs/<run>/measured/<what>.json                      what was measured of the student besides its scores, for the report
runs/<run>/report/…                                  index.html, report.md, results.json, scores.png
runs/<run>/report/mteb/results/<model>/<revision>/…  <task>.json and model_meta.json, as mteb's leaderboard takes them
runs/<run>/report/mteb-local/results/…               the same of tasks whose data is not the hub's: not for the leaderboard
runs/<run>/finished.json                             written last
```

``<corpus>`` and ``<teacher>`` are ``name-fingerprint``; ``<shard>`` is the shard's content hash, so that appended shards leave
committed parts alone; ``<manner>`` is the digest of what is sent beside a text: prompt and input type. Below
``scores``, ``<model>`` and ``<task>`` are digests of what decides the vectors and the data.
"""

from __future__ import annotations


def short(digest: str) -> str:
    """The part of a hex digest used in keys: 16 characters, 64 bits."""
    return digest[:16]


# --- corpus


def corpus(fingerprint: str) -> str:
    return f"corpora/{short(fingerprint)}"


def corpus_manifest(fingerprint: str) -> str:
    return f"{corpus(fingerprint)}/manifest.json"


def corpus_shard(fingerprint: str, index: int) -> str:
    return f"{corpus(fingerprint)}/shards/{index:05d}.parquet"


def corpus_pairs(fingerprint: str, task: str) -> str:
    return f"{corpus(fingerprint)}/pairs/{task}.parquet"


# --- targets


def teacher(fingerprint: str) -> str:
    return f"targets/{short(fingerprint)}"


def teacher_description(fingerprint: str) -> str:
    return f"{teacher(fingerprint)}/teacher.json"


def parts_data(fingerprint: str) -> str:
    return f"{teacher(fingerprint)}/data"


def part_data(fingerprint: str, shard_sha256: str, part: int, attempt: str) -> str:
    return f"{parts_data(fingerprint)}/{short(shard_sha256)}/{part:05d}.{attempt}.parquet"


def part_of_data(key: str) -> tuple[str, int]:
    """Which part a data file belongs to; see :func:`part_of_commit`."""
    shard, name = key.split("/")[-2:]
    return shard, int(name.partition(".")[0])


def part_commits(fingerprint: str) -> str:
    return f"{teacher(fingerprint)}/commit"


def part_commit(fingerprint: str, shard_sha256: str, part: int) -> str:
    return f"{part_commits(fingerprint)}/{short(shard_sha256)}/{part:05d}.json"


def part_of_commit(key: str) -> tuple[str, int]:
    """Which part a commit's key names: the shard's hash as it stands in keys, and the part's number in the shard."""
    shard, name = key.split("/")[-2:]
    return shard, int(name.removesuffix(".json"))


def parts_micro(fingerprint: str) -> str:
    return f"{teacher(fingerprint)}/micro"


def part_micro(fingerprint: str, shard_sha256: str, part: int) -> str:
    return f"{parts_micro(fingerprint)}/{short(shard_sha256)}/{part:05d}"


def part_of_micro(key: str) -> tuple[str, int]:
    """Which part a micro-part belongs to; see :func:`part_of_commit`."""
    shard, part = key.split("/")[-3:-1]
    return shard, int(part)


def spending(fingerprint: str) -> str:
    return f"{teacher(fingerprint)}/spending"


def target_basis(fingerprint: str) -> str:
    return f"bases/{short(fingerprint)}.safetensors"


# --- trunks


def trunk(fingerprint: str) -> str:
    return f"trunks/{short(fingerprint)}"


def trunk_description(fingerprint: str) -> str:
    return f"{trunk(fingerprint)}/trunk.json"


def trunk_states(fingerprint: str, shard_sha256: str) -> str:
    return f"{trunk(fingerprint)}/states/{short(shard_sha256)}.f32"


def harvest_receipt(recipe: str, time: str, suffix: str) -> str:
    return f"harvests/{recipe}/{time}.{suffix}"


# --- evaluation


def kept_chunks(fingerprint: str, manner: str) -> str:
    return f"evaluations/{short(fingerprint)}/{short(manner)}"


def kept_vectors(fingerprint: str, manner: str, chunk: str) -> str:
    return f"{kept_chunks(fingerprint, manner)}/{short(chunk)}.safetensors"


def kept_texts(fingerprint: str, manner: str, chunk: str) -> str:
    return f"{kept_chunks(fingerprint, manner)}/{short(chunk)}.texts"


def chunk_of_texts(key: str) -> str | None:
    """The chunk whose texts an object below :func:`kept_chunks` names; None for its vectors."""
    name = key.rpartition("/")[2]
    return name.removesuffix(".texts") if name.endswith(".texts") else None


def kept_failures(fingerprint: str, manner: str, chunk: str) -> str:
    return f"{kept_chunks(fingerprint, manner)}/{short(chunk)}.failed"


def is_failures(key: str) -> bool:
    """Whether an object below :func:`kept_chunks` names texts that failed."""
    return key.endswith(".failed")


def kept_score(model: str, task: str) -> str:
    return f"scores/{short(model)}/{short(task)}.json"


def kept_bases(model: str, texts: str) -> str:
    return f"scores/{short(model)}/bases-{short(texts)}.safetensors"


# --- run


def run(name: str) -> str:
    return f"runs/{name}"


def run_recipe(name: str) -> str:
    return f"{run(name)}/recipe.json"


def run_checkpoints(name: str) -> str:
    return f"{run(name)}/checkpoints"


def run_checkpoint(name: str, stage: int, step: int) -> str:
    return f"{run_checkpoints(name)}/{stage:02d}-{step:08d}"


def checkpoint_attempt(name: str, stage: int, step: int, attempt: str) -> str:
    return f"{run_checkpoint(name, stage, step)}/{attempt}"


def checkpoint_part(name: str, stage: int, step: int, attempt: str, rank: int) -> str:
    return f"{checkpoint_attempt(name, stage, step, attempt)}/rank-{rank:05d}.json"


def checkpoint_commit(name: str, stage: int, step: int) -> str:
    return f"{run_checkpoint(name, stage, step)}/commit.json"


def checkpoint_score(name: str, stage: int, step: int) -> str:
    return f"{run_checkpoint(name, stage, step)}/score.json"


def checkpoint_scoring(name: str, stage: int, step: int) -> str:
    return f"{run_checkpoint(name, stage, step)}/scoring.json"


def position_of_commit(key: str) -> tuple[int, int] | None:
    """Stage and step of a checkpoint's commit; None for the key of anything else below the checkpoints."""
    folder, _, name = key.rpartition("/")
    if name != "commit.json":
        return None
    stage, step = folder.rpartition("/")[2].split("-")
    return int(stage), int(step)


def run_metrics(name: str) -> str:
    return f"{run(name)}/metrics.jsonl"


def run_tensorboard(name: str) -> str:
    return f"{run(name)}/tensorboard"


def run_student(name: str) -> str:
    return f"{run(name)}/student"


def run_untrained(name: str) -> str:
    return f"{run(name)}/untrained"


def run_exported(name: str) -> str:
    return f"{run(name)}/exported.json"


def run_measured(name: str, what: str) -> str:
    return f"{run(name)}/measured/{what}.json"


def run_report(name: str) -> str:
    return f"{run(name)}/report"


def run_mteb(name: str, model: str, revision: str, file: str, *, from_hub: bool) -> str:
    return f"{run_report(name)}/{'mteb' if from_hub else 'mteb-local'}/results/{model}/{revision}/{file}"


def run_finished(name: str) -> str:
    return f"{run(name)}/finished.json"

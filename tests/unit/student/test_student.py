"""The student module: layers, attention, heads, freezing, weights."""

from pathlib import Path

import pytest
import torch

from mtd_ray.config import LastLayers, LayerRange, StudentConfig
from mtd_ray.errors import RecipeError, TrainingError
from mtd_ray.student import Student, load_weights, pad_tokens, save_weights, tokenize
from tests.tiny_models import tiny_bert, tiny_qwen2


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def qwen2(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_qwen2(tmp_path_factory.mktemp("qwen2"))


def config(model: str, **changes: object) -> StudentConfig:
    return StudentConfig.model_validate({"model": model, "heads": (8, 4), "max_tokens": 32} | changes)


def embed(student: Student, texts: list[str]) -> torch.Tensor:
    with torch.no_grad():
        return student.pool(*pad_tokens(student.tokenizer, tokenize(student.tokenizer, texts, 32)))


def trainable(student: Student) -> set[str]:
    return {name for name, parameter in student.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("init", ["pretrained", "random"])
def test_the_same_seed_builds_the_same_student_and_another_seed_another(bert: str, init: str) -> None:
    students = [Student.build(config(bert, init=init), seed) for seed in (1, 1, 2)]
    first, same, other = (torch.cat([p.flatten() for p in s.parameters()]) for s in students)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_building_leaves_the_global_random_state_alone(qwen2: str) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    Student.build(config(qwen2, init="random"), 5)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("lengths", [(6, 6), (6, 4)])
def test_a_decoder_backbone_attends_in_both_directions(qwen2: str, lengths: tuple[int, int]) -> None:
    student = Student.build(config(qwen2), 0)
    ids = torch.randint(4, 20, (2, 6))
    mask = (torch.arange(6) < torch.tensor(lengths)[:, None]).long()
    changed = ids.clone()
    changed[0, 5] = (ids[0, 5] + 1) % 20
    before = student.backbone(input_ids=ids, attention_mask=mask).last_hidden_state[0, 0]
    after = student.backbone(input_ids=changed, attention_mask=mask).last_hidden_state[0, 0]
    assert not torch.equal(before, after)
    assert student.backbone.config.is_causal is False


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", ["mean", "last", "cls"])
def test_a_text_has_the_same_vector_alone_and_beside_a_longer_one(tmp_path: Path, side: str, pooling: str) -> None:
    student = Student.build(config(tiny_qwen2(tmp_path, padding_side=side), pooling=pooling), 0)
    alone = embed(student, ["read the file"])
    together = embed(student, ["read the file", "the mean of a matrix is a number and not a list of values"])
    torch.testing.assert_close(alone[0], together[0], atol=1e-5, rtol=1e-4)


def test_poolings_differ(qwen2: str) -> None:
    vectors = [embed(Student.build(config(qwen2, pooling=p), 0), ["sort the list"]) for p in ("mean", "last", "cls")]
    assert not torch.allclose(vectors[0], vectors[1])
    assert not torch.allclose(vectors[1], vectors[2])


@pytest.mark.parametrize("kind", ["bert", "qwen2"])
def test_kept_layers_are_the_named_ones_and_the_config_agrees(tmp_path: Path, kind: str) -> None:
    folder = tiny_bert(tmp_path, layers=4) if kind == "bert" else tiny_qwen2(tmp_path, layers=4)
    whole, part = Student.build(config(folder), 0), Student.build(config(folder, layers=(1, 3)), 0)
    names = {"bert": "encoder.layer", "qwen2": "layers"}
    kept, all_layers = part.backbone.get_submodule(names[kind]), whole.backbone.get_submodule(names[kind])
    assert part.backbone.config.num_hidden_layers == 2
    for new, old in ((0, 1), (1, 3)):
        for mine, theirs in zip(kept[new].parameters(), all_layers[old].parameters(), strict=True):
            assert torch.equal(mine, theirs)
    part.backbone.save_pretrained(tmp_path / "saved")
    part.tokenizer.save_pretrained(tmp_path / "saved")
    again = Student.build(config(str(tmp_path / "saved")), 0)
    torch.testing.assert_close(embed(again, ["open the file"]), embed(part, ["open the file"]))


def test_a_random_student_has_as_many_layers_as_are_named(qwen2: str) -> None:
    student = Student.build(config(qwen2, init="random", layers=(0,)), 0)
    assert student.backbone.config.num_hidden_layers == len(student.backbone.layers) == 1


def test_heads_are_independent_linear_maps_with_bias(bert: str) -> None:
    student = Student.build(config(bert), 0)
    pooled = torch.randn(3, student.hidden_size)
    outputs = student.project(pooled, [4, 8])
    head = student.heads["8"]
    torch.testing.assert_close(outputs[8], pooled @ head.weight.T + head.bias)
    assert outputs[4].shape == (3, 4)


def test_nested_vectors_are_prefixes_of_one_linear_map(bert: str) -> None:
    student = Student.build(config(bert, heads=(4, 8, 6), matryoshka="nested"), 0)
    assert list(student.heads) == ["8"]
    pooled = torch.randn(3, student.hidden_size)
    outputs = student.project(pooled, [6, 4])
    whole = pooled @ student.heads["8"].weight.T + student.heads["8"].bias
    for size in (4, 6):
        torch.testing.assert_close(outputs[size], whole[:, :size])
    student.freeze("heads", [4])
    student.project(pooled, [4])[4].sum().backward()
    gradient = student.heads["8"].weight.grad
    assert gradient[:4].abs().sum() > 0
    assert gradient[4:].abs().sum() == 0


def layers_trained(student: Student) -> set[str]:
    """Numbers of the layers, and the names of what is trained besides them and the heads."""
    names = [name.removeprefix("backbone.") for name in trainable(student) if not name.startswith("heads.")]
    return {name.split(".")[2] if name.startswith("encoder.layer.") else name for name in names}


def test_only_what_a_stage_trains_requires_gradients(bert: str) -> None:
    student = Student.build(config(bert), 0)
    student.freeze("heads", [8])
    assert trainable(student) == {"heads.8.weight", "heads.8.bias"}
    student.freeze(LastLayers(last=1), [4])
    assert layers_trained(student) == {"2"}
    assert {name for name in trainable(student) if "heads" in name} == {"heads.4.weight", "heads.4.bias"}
    student.freeze(LayerRange(layers=(0, 1)), [4])
    assert layers_trained(student) == {"0", "1"}
    student.freeze("all", [4, 8])
    assert "embeddings.word_embeddings.weight" in layers_trained(student)
    assert not any("pooler" in name for name in trainable(student))


def test_every_parameter_that_is_trained_gets_a_gradient(bert: str, qwen2: str) -> None:
    for model in (bert, qwen2):
        student = Student.build(config(model), 0)
        student.freeze("all", [4, 8])
        pooled = student.pool(torch.tensor([[4, 5, 6]]), torch.ones(1, 3, dtype=torch.long))
        torch.cat(list(student.project(pooled, [4, 8]).values()), dim=1).square().sum().backward()
        assert {name for name, parameter in student.named_parameters() if parameter.grad is not None} == trainable(student)


def test_a_trunk_is_frozen_when_only_heads_are_trained(bert: str) -> None:
    student = Student.build(config(bert), 0)
    frozen = {}
    for part in ("heads", LastLayers(last=1), LayerRange(layers=(1, 1)), "all"):
        student.freeze(part, [8])
        frozen[str(part)] = (student.trunk_is_frozen, round(3 * student.gradient_share))
    assert list(frozen.values()) == [(True, 0), (False, 1), (False, 2), (False, 3)]


def test_layers_that_are_not_there_cannot_be_trained(bert: str) -> None:
    student = Student.build(config(bert), 0)
    with pytest.raises(RecipeError, match=r"trainable\.last: 4 layers asked for, the student has 3"):
        student.freeze(LastLayers(last=4), [8])
    with pytest.raises(RecipeError, match=r"trainable\.layers: the student has layers 0 to 2, not 3"):
        student.freeze(LayerRange(layers=(1, 3)), [8])


def test_dropout_stays_off_in_training(bert: str) -> None:
    student = Student.build(config(bert), 0).train()
    assert torch.equal(embed(student, ["close the file"]), embed(student, ["close the file"]))


def test_weights_survive_a_round_trip(bert: str, tmp_path: Path) -> None:
    student, other = Student.build(config(bert), 0), Student.build(config(bert, init="random"), 1)
    save_weights(student, tmp_path / "weights.safetensors")
    load_weights(other, tmp_path / "weights.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), other.parameters(), strict=True))


def test_weights_of_another_student_or_a_damaged_file_are_refused(bert: str, qwen2: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(Student.build(config(qwen2), 0), path)
    with pytest.raises(TrainingError, match="another student"):
        load_weights(Student.build(config(bert), 0), path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainingError, match="cannot be read"):
        load_weights(Student.build(config(qwen2), 0), path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": (0, 9)}, "layers 0 to 2"),
        ({"max_tokens": 4096}, "more than the 64 tokens"),
    ],
)
def test_a_configuration_that_does_not_fit_the_model_is_refused(bert: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Student.build(config(bert, **changes), 0)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be loaded"):
        Student.build(config(str(tmp_path)), 0)


def test_a_text_without_words_still_has_a_vector(bert: str) -> None:
    assert torch.isfinite(embed(Student.build(config(bert), 0), [""])).all()

"""Model folders of a few kilobytes for tests: real architectures and a real tokenizer, random weights, no hub."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    GteConfig,
    GteModel,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Model,
)

_TEXT = """
the a of to and in is for on with as by from that array matrix vector value function returns number list string file
read write open close sort sum mean two given key error raise when not find data set train test model layer token
"""
WORDS = _TEXT.split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def tiny_bert(folder: Path, *, layers: int = 3, hidden: int = 32) -> str:
    """A BERT folder; returns its path."""
    tokenizer = tiny_tokenizer()
    torch.manual_seed(11)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * hidden,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def tiny_qwen2(folder: Path, *, layers: int = 2, hidden: int = 32, padding_side: str = "right") -> str:
    """A Qwen2 folder (grouped keys, rotary positions); returns its path."""
    tokenizer = tiny_tokenizer(padding_side)
    torch.manual_seed(12)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=2 * hidden,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    Qwen2Model(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def tiny_gte(folder: Path, *, layers: int = 2, hidden: int = 32) -> str:
    """A folder like the published gte-large-en-v1.5, whose config names code of its own; returns its path."""
    tokenizer = tiny_tokenizer()
    torch.manual_seed(13)
    config = GteConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * hidden,
        max_position_embeddings=64,
        type_vocab_size=2,
        pad_token_id=0,
        initializer_range=0.2,
    )
    GteModel(config).save_pretrained(folder)
    published = config.to_dict() | {
        "model_type": "new",
        "auto_map": {"AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel"},
        "rope_theta": 160_000,
        "rope_scaling": {"type": "ntk", "factor": 2.0},
    }
    del published["rope_parameters"]
    (folder / "config.json").write_text(json.dumps(published))
    tokenizer.save_pretrained(folder)
    return str(folder)


def tiny_model(folder: Path, model: type[PreTrainedModel], config: type[PreTrainedConfig], **changes: object) -> str:
    """A folder of any architecture, with these changes to its config; returns its path."""
    tokenizer = tiny_tokenizer()
    shape: dict[str, object] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 66,
        "initializer_range": 0.2,
    }
    torch.manual_seed(3)
    model(config(**shape | changes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def tiny_tokenizer(padding_side: str = "right") -> PreTrainedTokenizerFast:
    """WordPiece over :data:`WORDS`, with BERT's special tokens."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = [*SPECIAL, *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", tokenizer.token_to_id("[CLS]")), ("[SEP]", tokenizer.token_to_id("[SEP]"))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        padding_side=padding_side,
        model_max_length=64,
    )


def sentences(count: int, seed: int = 0) -> list[str]:
    """Distinct word sequences of 2 to 20 words."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 21, (count,), generator=generator).tolist()
    return [
        " ".join(WORDS[i] for i in torch.randint(len(WORDS), (length,), generator=generator).tolist()) + f" {number}"
        for number, length in enumerate(lengths)
    ]

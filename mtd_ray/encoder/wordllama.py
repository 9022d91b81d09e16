"""The static embedding model inside the ``wordllama`` package, as a sentence-transformers folder.

WordLlama (l2_supercat, 256-d) is a table of token vectors: a text's vector is the mean of its tokens' rows, scaled to length 1.
The package's own code is not imported; only its weights and tokenizer file are read.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from mtd_ray.encoder.cache import built_once
from mtd_ray.errors import MtdError

_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"


def wordllama_folder(package: Path, cache: Path) -> Path:
    """The sentence-transformers folder built from the package's files; built at the first call, found at later ones.

    The folder's name carries the digest of the files it was built from, and it is moved into place when complete, so that
    processes that build it at the same time do not disturb each other.

    Raises:
        MtdError: the installed package does not ship the expected files.
    """
    sources = [package / _WEIGHTS, package / _TOKENIZER]
    if missing := [path for path in sources if not path.is_file()]:
        raise MtdError(f"model 'package:wordllama': {missing[0]} is missing; install wordllama 0.4.0.post1, which ships it")
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in sources)).hexdigest()
    folder = cache / f"wordllama-{digest[:16]}"
    return built_once(folder, lambda scratch: _save(sources[0], sources[1], scratch))


def _save(weights: Path, tokenizer: Path, folder: Path) -> None:
    from safetensors.torch import load_file
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
    from tokenizers import Tokenizer

    table = load_file(weights)["embedding.weight"].float()
    modules = [StaticEmbedding(Tokenizer.from_file(str(tokenizer)), embedding_weights=table), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder), create_model_card=False)

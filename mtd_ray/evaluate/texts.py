"""What stands for a text where millions of long ones need not be held."""

from __future__ import annotations

import hashlib

TEXT_DIGEST_BYTES = 16


def text_digest(text: str) -> bytes:
    """The first bytes of a text's sha256. Vectors that are kept in storage are found by it: another digest would lose them."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:TEXT_DIGEST_BYTES]

"""Teachers' vectors in storage: their file format, what is committed, and reads aligned with the corpus."""

from mtd_ray.targets.codec import DecodedPart, decode_vectors, encode_vectors
from mtd_ray.targets.commit import (
    Part,
    PartCommit,
    committed_parts,
    parts_of,
    parts_of_shard,
    pending_parts,
    write_part,
    write_teacher_description,
)
from mtd_ray.targets.read import TargetStore

__all__ = [
    "DecodedPart",
    "Part",
    "PartCommit",
    "TargetStore",
    "committed_parts",
    "decode_vectors",
    "encode_vectors",
    "parts_of",
    "parts_of_shard",
    "pending_parts",
    "write_part",
    "write_teacher_description",
]

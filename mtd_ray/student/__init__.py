"""The student: a Hugging Face backbone, pooling, and one linear head per output size."""

from mtd_ray.student.check import check_student
from mtd_ray.student.model import Student
from mtd_ray.student.pooling import pool
from mtd_ray.student.tokens import pad_tokens, tokenize
from mtd_ray.student.weights import load_weights, save_weights

__all__ = ["Student", "check_student", "load_weights", "pad_tokens", "pool", "save_weights", "tokenize"]

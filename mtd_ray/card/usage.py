"""How a student is used: snippets that run as they stand."""

from __future__ import annotations

from mtd_ray.config import StudentConfig
from mtd_ray.markdown import code

ADDRESS = "FOLDER"
"""Stands for where the folder lies."""


def usage_section(student: StudentConfig, name: str) -> str:
    """With sentence-transformers, and with OpenAI's client against the server of this project."""
    parts = ("## Use", _load(student), _sizes(student), _prompts(student), _serve(student, name))
    return "\n\n".join(parts)


def _load(student: StudentConfig) -> str:
    with_prompt = f', prompt_name="{next(iter(student.prompts))}"' if student.prompts else ""
    return (
        "```python\n"
        "from sentence_transformers import SentenceTransformer\n\n"
        f'model = SentenceTransformer("{ADDRESS}")\n'
        f'vectors = model.encode(["a text"]{with_prompt})  # shape (1, {student.export_head})\n'
        "```"
    )


def _sizes(student: StudentConfig) -> str:
    smaller = [size for size in student.heads if size < student.export_head]
    text = f"For another size, write its folder in place of `2_Dense_{student.export_head}` in `modules.json`."
    if student.matryoshka == "nested" and smaller:
        text += (
            f' Sizes below {student.export_head} also come with `SentenceTransformer("{ADDRESS}", truncate_dim={max(smaller)})`.'
        )
    return text


def _prompts(student: StudentConfig) -> str:
    if not student.prompts:
        return "No prompts are needed."
    return "Prompts:\n\n" + "\n".join(f"- {code(name)}: {code(repr(prompt))}" for name, prompt in student.prompts.items())


def _serve(student: StudentConfig, name: str) -> str:
    return (
        f"Behind OpenAI's API: `python jobs/serve.py {ADDRESS} --name {name}` of mtd-ray, where this folder lies; then\n\n"
        "```python\n"
        "from openai import OpenAI\n\n"
        'client = OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none")\n'
        f'answer = client.embeddings.create(model="{name}", input=["a text"], dimensions={student.export_head})\n'
        "vector = answer.data[0].embedding\n"
        "```"
    )

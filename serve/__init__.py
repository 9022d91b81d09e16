"""The exported student behind OpenAI's embeddings API, on Ray Serve.

``schemas`` are the wire formats, ``engine`` turns requests into vectors, ``routes`` is the HTTP application (no Ray), ``app`` is
the Ray Serve deployment around it.
"""

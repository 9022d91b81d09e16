"""Finished students behind OpenAI's embeddings API, on Ray Serve.

``wire`` are the formats, ``api`` is HTTP, ``engine`` turns questions into vectors: none of them knows Ray. ``app`` is the Ray Serve
deployment around them, made of ``options``; ``proxy`` is what stands before its replicas, ``autoscaling`` says how many they are.
"""

"""Formats of the APIs that are spoken: a request's bytes → what is asked for, vectors → an answer's bytes. Without any I/O."""

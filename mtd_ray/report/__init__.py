"""What a run shows people: the report, and the numbers in it."""

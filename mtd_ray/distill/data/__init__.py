"""From a run's shards to the batches of its steps."""

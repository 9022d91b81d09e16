"""What of a run survives: checkpoints, their writing, choice and scores, and the notice to make one now."""

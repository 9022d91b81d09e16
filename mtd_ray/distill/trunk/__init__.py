"""The outputs of a frozen trunk: computed once, kept, read in place of texts."""

"""How good the student is, beside its teachers and its own beginning: on which tasks, at which sizes, in which forms.

Nothing is imported here: the tasks of a cluster load only the modules they run.
"""

"""The engine behind HTTP: routes, keys and limits. Nothing here knows of Ray."""

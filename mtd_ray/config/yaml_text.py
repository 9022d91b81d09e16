"""YAML as people write it: numbers like ``1e-4``, anchors and merges; a key given twice and an exotic key are errors."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

_TEXT, _INT, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("str", "int", "merge"))


class _Loader(yaml.SafeLoader):
    """Checks keys on the written nodes, before a merge (``<<: *anchor``) adds keys that the mapping may replace."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self._plain_key(key_node)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return node

    def _plain_key(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.ScalarNode):
            if node.tag in (_TEXT, _MERGE):
                return str(node.value)
            if node.tag == _INT:
                return str(self.construct_yaml_int(node))
        given = (
            f"{node.value!r}, read as {node.tag.rpartition(':')[2]}" if isinstance(node, yaml.ScalarNode) else "a list or a mapping"
        )
        fault = f"a key is text or a whole number, not {given}; put quotes around it"
        raise yaml.constructor.ConstructorError(None, None, fault, node.start_mark)


# YAML 1.1 reads 1e-4, which has no point, as text.
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789."))


def parse_yaml(text: str) -> Any:
    """The value of a YAML text as JSON would hold it: keys are text, dates are text.

    Raises:
        ValueError: it is not valid, a mapping holds a key twice, or a key is neither text nor a whole number; in one line.
    """
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
        # What an anchor and its aliases share is copied, so that replacing a value in one place leaves the others.
        return json.loads(json.dumps(value, default=str))
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from None

"""Elements of HTML and SVG, built and not pasted: texts from outside are escaped wherever they stand."""

from __future__ import annotations

from xml.etree.ElementTree import Element

Child = Element | str


def node(tag: str, *children: Child, **attributes: str | float) -> Element:
    """An element; ``class_`` and ``for_`` lose their underscore, other underscores become hyphens; numbers are rounded to 0.1."""
    element = Element(tag, {_attribute(key): _text(value) for key, value in attributes.items()})
    extend(element, *children)
    return element


def extend(element: Element, *children: Child) -> None:
    """Append elements and texts in their order."""
    for child in children:
        if isinstance(child, Element):
            element.append(child)
        elif len(element):
            element[-1].tail = (element[-1].tail or "") + child
        else:
            element.text = (element.text or "") + child


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-") if key != "viewBox" else key


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{round(value, 1):g}"

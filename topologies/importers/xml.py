"""XML from strangers: a text with a document type, entities or endless nesting is refused before it is built.

Entities are how a small file becomes a huge one, or reads another file; neither GraphML nor SNDlib's form needs them.
"""

from __future__ import annotations

from xml.etree import ElementTree
from xml.parsers import expat

from pricing.errors import ScenarioError

DEEPEST = 64
"""Levels of nesting; GraphML and SNDlib's form need fewer than ten."""


def element(content: bytes, source: str) -> ElementTree.Element:
    """The root of an XML text.

    Raises
    ------
    ScenarioError
        When it is not XML, declares a document type or an entity, or is nested deeper than `DEEPEST`.
    """
    accepted = "accepted: a whole XML document"
    try:
        _scan(content, source)
        return ElementTree.fromstring(content)
    except expat.ExpatError as error:
        reason = f"{expat.ErrorString(error.code)} in line {error.lineno}"
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        reason = str(error)  # names that are not declared, an encoding that there is not
    raise ScenarioError(source, [f"is not XML: {reason}; {accepted}"])


def tag(node: ElementTree.Element) -> str:
    """Name of an element, without its namespace."""
    return node.tag.rpartition("}")[2]


def _scan(content: bytes, source: str) -> None:
    parser = expat.ParserCreate()
    depth = 0

    def refuse(*_: object) -> None:
        accepted = "accepted: XML without <!DOCTYPE> and <!ENTITY>; take the declaration out"
        raise ScenarioError(source, [f"declares a document type in line {parser.CurrentLineNumber}; {accepted}"])

    def down(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise ScenarioError(
                source, [f"is nested deeper than {DEEPEST} levels; accepted: GraphML, or SNDlib's form"]
            )

    def up(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = down
    parser.EndElementHandler = up
    parser.Parse(content, True)

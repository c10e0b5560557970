"""YAML text to nodes, with the syntax that kubectl takes.

kubectl reads with a port of libyaml, PyYAML is another one; they differ in where a tab may stand
and in what an anchor given twice means. Here PyYAML is brought in line. What a scalar means is left
to `yaml_values`.
"""

from typing import Any, Final

import yaml

__all__ = ["IMPLICIT", "STRING", "AliasNode", "Reader"]

IMPLICIT: Final = ""
"""The tag of a node that has none and whose value decides: a plain scalar, and any collection."""

STRING: Final = "tag:yaml.org,2002:str"

_BREAKS: Final = "\r\n\x85\u2028\u2029"
_ENDS: Final = f"\0 \t{_BREAKS}"


class AliasNode(yaml.Node):
    """An alias where it stands; `value` is the node that has the anchor."""

    id = "alias"

    def __init__(self, target: yaml.Node | None, event: Any) -> None:
        super().__init__(IMPLICIT, target, event.start_mark, event.end_mark)


class Reader(yaml.SafeLoader):
    """Composes nodes whose tags are those of the text, or `IMPLICIT`, or `STRING` if quoted."""

    # An escaped slash belongs to JSON and to YAML 1.2, an escaped single quote to libyaml's port.
    ESCAPE_REPLACEMENTS = {  # type: ignore[misc]  # noqa: RUF012 - as PyYAML has it
        escape: character
        for escape, character in (*yaml.SafeLoader.ESCAPE_REPLACEMENTS.items(), ("'", "'"))
        if escape != "/"
    }

    def resolve(self, kind: type[yaml.Node], _: Any, implicit: Any) -> str:
        """Leave plain scalars open, and take quoted ones as strings."""
        return STRING if kind is yaml.ScalarNode and not implicit[0] else IMPLICIT

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Keep aliases apart from what they name, and let the last anchor of a name win."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            return AliasNode(super().compose_node(parent, index), event)
        if isinstance(event, yaml.ScalarEvent) and event.tag == "!":
            event.tag = STRING
        self.anchors.pop(event.anchor, None)
        return super().compose_node(parent, index)

    def check_rest(self) -> bool:
        """Return whether there is anything after the document."""
        try:
            return bool(self.check_node())
        except yaml.YAMLError:
            return True

    # --- where tabs may stand

    def scan_to_next_token(self) -> None:
        """Pass over tabs too, but for those that would be indentation."""
        while True:
            super().scan_to_next_token()
            if self.peek() != "\t" or (not self.flow_level and self.allow_simple_key):
                return
            while self.peek() in " \t":
                self.forward()

    def scan_plain(self) -> yaml.ScalarToken:
        """Take a colon before a comma or bracket, and tabs, as part of a plain scalar."""
        begin = end = self.get_mark()
        indent = self.indent + 1
        chunks: list[str] = []
        spaces: list[str] = []
        while self.peek() != "#":
            length = 0
            while not self._ends_plain(length):
                length += 1
            if length == 0:
                break
            self.allow_simple_key = False
            chunks += [*spaces, self.prefix(length)]
            self.forward(length)
            end = self.get_mark()
            spaces = self.scan_plain_spaces(indent, begin)
            if not spaces or (not self.flow_level and self.column < indent):
                break
        return yaml.ScalarToken("".join(chunks), True, begin, end)

    def _ends_plain(self, length: int) -> bool:
        character = self.peek(length)
        if character == ":":
            return self.peek(length + 1) in _ENDS
        return character in _ENDS or bool(self.flow_level and character in ",?[]{}")

    def scan_plain_spaces(self, indent: int, start_mark: yaml.Mark) -> list[str]:
        """Take tabs within a plain scalar as it takes spaces."""
        length = 0
        while self.peek(length) in " \t":
            length += 1
        spaces = self.prefix(length)
        self.forward(length)
        if self.peek() not in _BREAKS:
            return [spaces] if spaces else []
        first = self.scan_line_break()  # type: ignore[no-untyped-call]
        self.allow_simple_key = True
        breaks: list[str] = []
        while not self._is_separated():
            if self.peek() in _BREAKS:
                breaks.append(self.scan_line_break())  # type: ignore[no-untyped-call]
            elif self.peek() == "\t" and self.column < indent:
                raise yaml.scanner.ScannerError(
                    "while scanning a plain scalar",
                    start_mark,
                    "found character '\\t' that violates indentation",
                    self.get_mark(),
                )
            elif self.peek() in " \t":
                self.forward()
            else:
                return [*([first] if first != "\n" else [] if breaks else [" "]), *breaks]
        return []

    def _is_separated(self) -> bool:
        return self.column == 0 and self.prefix(3) in ("---", "...") and self.peek(3) in _ENDS

    def scan_block_scalar_indicators(self, _: yaml.Mark) -> tuple[bool | None, int | None]:
        """Leave it to the rest of the line what may stand there: a tab, or `#` without a space."""
        chomping: bool | None = None
        increment: int | None = None
        while True:
            character = self.peek()
            if character in "+-" and chomping is None:
                chomping = character == "+"
            elif character in "123456789" and increment is None:
                increment = int(character)
            else:
                return chomping, increment
            self.forward()

    def scan_block_scalar_ignored_line(self, start_mark: yaml.Mark) -> None:
        """Take tabs behind the `|` of a block scalar."""
        while self.peek() in " \t":
            self.forward()
        super().scan_block_scalar_ignored_line(start_mark)

    def scan_block_scalar_indentation(self) -> Any:
        """Refuse a tab where the first line of a block scalar says how far it is indented."""
        found = super().scan_block_scalar_indentation()
        self._refuse_tab()
        return found

    def scan_block_scalar_breaks(self, indent: int) -> Any:
        """Refuse a tab in the indentation of a block scalar."""
        found = super().scan_block_scalar_breaks(indent)
        if self.column < indent:
            self._refuse_tab()
        return found

    def _refuse_tab(self) -> None:
        if self.peek() == "\t":
            raise yaml.scanner.ScannerError(
                "while scanning a block scalar",
                None,
                "found character '\\t' where an indentation is expected",
                self.get_mark(),
            )

"""A shot list as a table: Markdown, CSV (comma or semicolon) or TSV.

A row is a shot. Columns come in any order under any of their usual names (`columns.py`). A
Markdown file may hold several tables and prose around them; `Title:`, `Theme:`, `Look:`,
`Negative:` and `Cast:` lines at its top, or a heading `# Title`, speak about the whole film. In
Markdown cells `\\|` is a bar, `<br>` a new line and `&#32;` a character by number.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

from ..errors import PlanError
from .columns import Cells, column_named, draft_from, unescape, unknown_column
from .drafts import Draft, Outline
from .elements import Line, text_lines, title_page
from .naming import read_cast

_RULE = re.compile(r"\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?")
_DELIMITERS = (",", "\t", ";")


def read_table(text: str) -> Outline:
    """The shots of a table.

    Raises:
        PlanError: no table, an unknown column, a row of another width, a cell that cannot be
            read.
    """
    lines = text_lines(text)
    if _first_markdown_row(lines) is not None:
        return _read_markdown(lines)
    return Outline(tuple(_read_csv(text, _delimiter(lines))))


def is_table(lines: list[Line]) -> bool:
    """Whether the text is a table: a Markdown rule under a row, or a line of known columns."""
    if _first_markdown_row(lines) is not None:
        return True
    header = next((text for _, text in lines if text.strip()), "")
    return any(
        len(cells := _split(header, delimiter)) > 1 and _known(cells) >= max(2, len(cells) / 2)
        for delimiter in _DELIMITERS
    )


def _first_markdown_row(lines: list[Line]) -> int | None:
    for place in range(len(lines) - 1):
        if _starts_table(lines, place):
            return place
    return None


def _starts_table(lines: list[Line], place: int) -> bool:
    if place + 1 >= len(lines):
        return False
    head, rule = lines[place][1], lines[place + 1][1].strip()
    return "|" in head and "|" in rule and _RULE.fullmatch(rule) is not None


def _read_markdown(lines: list[Line]) -> Outline:
    drafts: list[Draft] = []
    place = first = _first_markdown_row(lines)
    while place < len(lines):
        if not _starts_table(lines, place):
            if "|" in lines[place][1]:
                raise PlanError(
                    "a row outside of any table; a table begins with its columns and a line of "
                    "| --- | below them",
                    lines[place][0],
                )
            place += 1
            continue
        rows = [lines[place]]
        place += 2
        while place < len(lines) and "|" in lines[place][1]:
            rows.append(lines[place])
            place += 1
        drafts += _drafts((number, _markdown_cells(row)) for number, row in rows)
    page, rest = title_page(lines[:first])
    cast = read_cast(page.get("cast", ""))
    page = {key: unescape(value) for key, value in page.items()}
    heading = next((text for _, text in rest if re.match(r"#\s+\S", text)), "")
    return Outline(
        drafts=tuple(drafts),
        title=page.get("title", heading.lstrip("# ").strip()),
        theme=page.get("theme", page.get("logline", "")),
        look=page.get("look", page.get("style", "")),
        negative=page.get("negative", page.get("negative prompt", "")),
        cast=cast,
    )


def _markdown_cells(row: str) -> list[str]:
    row = row.strip()
    # An escaped character is never a border, whatever it is.
    parts = re.findall(r"(?:\\.|[^|\\]|\\$)+|\|", row)
    cells, filled = [""], False
    for part in parts:
        if part == "|":
            cells.append("")
        else:
            cells[-1] = part
        filled = filled or part != "|"
    if row.startswith("|"):
        cells = cells[1:]
    if parts and parts[-1] == "|":
        cells = cells[:-1]
    return [_markdown_text(cell.strip()) for cell in cells]


def _markdown_text(cell: str) -> str:
    cell = re.sub(r"<br\s*/?>", "\n", cell, flags=re.IGNORECASE)
    return unescape(re.sub(r"\\([\\|])", r"\1", cell))


def _delimiter(lines: list[Line]) -> str:
    header = next((text for _, text in lines if text.strip()), "")
    return max(_DELIMITERS, key=lambda d: (_known(_split(header, d)), len(_split(header, d))))


def _split(header: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"').strip() for cell in header.split(delimiter)]


def _known(cells: Sequence[str]) -> int:
    return sum(column_named(cell) is not None for cell in cells)


def _read_csv(text: str, delimiter: str) -> Iterator[Draft]:
    rows = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )

    def numbered() -> Iterator[tuple[int, list[str]]]:
        while True:
            number = rows.line_num + 1
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                raise PlanError(f"this row cannot be read: {error}", number) from None
            cells = [cell.strip().replace("\r\n", "\n").replace("\r", "\n") for cell in row]
            if any(cells):
                yield number, cells

    return _drafts(numbered())


def _drafts(rows: Iterable[tuple[int, list[str]]]) -> Iterator[Draft]:
    columns: list[str | None] = []
    headers: dict[str, str] = {}
    for number, cells in rows:
        if not columns:
            columns, headers = _header(cells, number)
            continue
        if len(cells) != len(columns):
            raise PlanError(
                f"this row has {len(cells)} cells, but there are {len(columns)} columns", number
            )
        words = {}
        for column, cell in zip(columns, cells, strict=True):
            if column is None and cell:
                raise PlanError(f"{cell!r:.60} stands under no column; name the column", number)
            if column is not None:
                words[column] = cell
        if any(cells):
            yield draft_from(Cells(number, words, headers))


def _header(cells: list[str], line: int) -> tuple[list[str | None], dict[str, str]]:
    columns: list[str | None] = []
    headers: dict[str, str] = {}
    for header in cells:
        column = column_named(header) if header else None
        if column is None and header:
            raise unknown_column(header, line)
        if column in headers:
            raise PlanError(
                f"columns {headers[column]!r:.60} and {header!r:.60} both mean {column}; "
                "keep one of them",
                line,
            )
        if column:
            headers[column] = header
        columns.append(column)
    return columns, headers

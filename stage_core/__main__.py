"""The command line: a film from a story, or its start and end frames; files for ComfyUI."""

from __future__ import annotations

import argparse
import logging
import sys

from .atomic import write_text
from .bench.menu import MEASURES
from .bench.rows import table, to_json
from .command.convert import ConvertedLora, check, convert_lora, convert_transformer, has_lora
from .command.directing import write_plan
from .command.making import draw_board, make
from .command.options import parser
from .command.speaking import say, watching, write_over

_GOES_ON = "what was finished is kept, the same command goes on from there"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; gives the exit status: 0 done, 1 failed, 2 wrong use, 130 stopped."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    options = parser(make, draw_board, convert, bench, direct).parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        say(f"stopped; {_GOES_ON}" if options.run in (make, draw_board) else "stopped")
        return 130
    except (ValueError, OSError, ImportError, MemoryError) as error:
        say(f"stage-film: {_sentence(error)}")
        return 1
    return 0


def direct(options: argparse.Namespace) -> None:
    """Theme to plan."""
    write_plan(options, say)


def convert(options: argparse.Namespace) -> None:
    """The authors' files into files for ComfyUI; or a check whether a checkpoint is their base."""
    if options.check:
        say(check(*options.check, options.source, _compared))
        return
    if options.source is None or options.out is None:
        raise ValueError("convert needs --check BASE CHECKPOINT, or a LoRA or folder and --out DIR")
    if has_lora(options.source) or not options.transformer:
        _say_converted(convert_lora(options.source, options.out, options.template))
    if options.transformer:
        say(str(convert_transformer(options.source, options.out, options.template)))


def bench(options: argparse.Namespace) -> None:
    """Measure, and say how far from the goals."""
    rows = {}
    for row in MEASURES[options.which](watching()):
        rows[row.name] = row
        if options.json:
            # At once: what measures for minutes may be stopped in the middle.
            write_text(options.json, to_json(rows.values()))
    print(table(rows.values()))


def _sentence(error: BaseException) -> str:
    """The error in words; Python's own numbers of the operating system's are left out."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _say_converted(made: ConvertedLora) -> None:
    left = f", {made.left_out} keys that fit neither left out" if made.left_out else ""
    parts = f"{made.transformer} layers of the transformer, {made.text_encoder} of the text encoder"
    say(f"{made.path}: {parts}{left}")
    if made.templates is None:
        say("no released prompt template was found beside it, so prompts get our own wording")


def _compared(done: int, of: int) -> None:
    if done < of:
        write_over(f"  {done} of {of} tensors ")


if __name__ == "__main__":
    sys.exit(main())

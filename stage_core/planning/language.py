"""A storyboard from anything that answers: ask, read, ask again with what is missing, stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import AnswerError, PlanError
from ..story.shot_list import ShotList
from .director import FilmOrder, instruction
from .planner import PlanSettings, plan

TRIES = 3
Message = dict[str, str]
"""One message of a conversation: `role`, user or assistant, and `content`."""

Generate = Callable[[Sequence[Message]], str]
"""Answers a conversation. What it raises is not caught."""

OnRefusal = Callable[[str], None]
"""Told why an answer could not be used, before the model is asked again."""


def direct(
    order: FilmOrder,
    generate: Generate,
    settings: PlanSettings,
    on_refusal: OnRefusal,
) -> ShotList:
    """The plan that a language model makes of an order, with exactly the shots asked for.

    Raises:
        PlanError: none of `TRIES` answers was a plan; says why the last was not.
    """
    wanted = replace(
        settings,
        theme=order.theme.strip(),
        look=order.look,
        cast=order.cast,
        num_shots=order.shots,
        format="answer",
    )
    question = [{"role": "user", "content": instruction(order)}]
    messages, reason = question, ""
    for _ in range(TRIES):
        answer = generate(messages)
        try:
            return plan(answer, wanted)
        except AnswerError as error:
            reason = error.reason
            on_refusal(reason)
            # Only the last answer is shown again: small models forget the question otherwise.
            said = {"role": "assistant", "content": answer}
            messages = [*question, said, {"role": "user", "content": error.retry}]
    raise PlanError(f"{TRIES} answers could not be used; of the last, {reason}")

"""The prompt for a language model. Its version is part of every state writer's name."""

PROMPT_VERSION = 1

_WORKED_EXAMPLE = (
    ("close the door", 4),
    "1. A hand reaches for the open door\n"
    "2. The hand holds the handle\n"
    "3. The door swings towards its frame\n"
    "4. The door is shut and the hand lets go",
)


def question(instruction: str, num_states: int, has_frame: bool) -> str:
    """The question for one video.

    Increase `PROMPT_VERSION` with every change of the text: stored answers depend on it.

    Args:
        instruction: what happens in the video.
        num_states: how many stages to name.
        has_frame: whether the first frame is shown beside the question.
    """
    opening = "The image is the first frame of a video." if has_frame else "Imagine a video."
    return (
        f'{opening} In the video, this happens: "{instruction}". Name the {num_states} stages that '
        "the scene passes through, from the beginning to the end. Say what can be seen at each "
        f"stage. Answer with exactly {num_states} numbered lines, one short sentence each, and "
        "nothing else."
    )


def conversation(instruction: str, num_states: int, has_frame: bool) -> list[tuple[str, str]]:
    """The conversation up to the answer, as (role, text); the last message is the question.

    Choice: a model that sees no frame gets a worked example first, because the models used without
    a frame are small. A model that sees the frame gets none: it would copy the example's objects.
    """
    messages = [("user", question(instruction, num_states, has_frame))]
    if has_frame:
        return messages
    example, answer = _WORKED_EXAMPLE
    return [("user", question(*example, has_frame=False)), ("assistant", answer), *messages]

import pytest

from aid.tabletop import language
from aid.tabletop.language import Task

EVERY_TASK = [
    Task("lift", "red ball"),
    Task("push", "green can", None, "left"),
    Task("push", "green can", None, "towards the camera"),
    Task("put", "yellow block", "blue bowl"),
    Task("put", "yellow block", "blue plate"),
    Task("stack", "red block", "red can"),
    Task("beside", "orange ball", "purple box", "left"),
    Task("beside", "orange ball", "green block", "right"),
]


@pytest.mark.parametrize("task", EVERY_TASK, ids=lambda task: language.instructions(task)[0])
def test_every_wording_of_a_task_parses_back_to_it(task):
    said = language.instructions(task)
    assert len(said) == len(set(said)) == 3
    assert all(language.parse(sentence) == task for sentence in said)


def test_every_instruction_of_the_grammar_parses_back_to_itself():
    states = {state for task in EVERY_TASK for state in language.states(task)}
    parsed = 0
    for sentence in language.sentences():
        try:
            task = language.parse(sentence)
        except ValueError:
            continue  # a state
        assert sentence in language.instructions(task)
        assert sentence not in states
        parsed += 1
    # 18 objects: lift, 4 pushes, 18 puts, 17 stacks, 2 sides of 35 items; 3 wordings each.
    assert parsed == 18 * (1 + 4 + 18 + 17 + 2 * 35) * 3


def test_case_and_punctuation_do_not_matter():
    assert language.parse("  Put the RED block,  in the blue bowl! ") == Task(
        "put", "red block", "blue bowl"
    )


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "red block",
        "put the red block",
        "put the pink block in the blue bowl",
        "put the blue bowl in the red block",
        "stack the red block on the blue bowl",
        "pick up the red ball please",
        "push the red ball up",
    ],
)
def test_other_sentences_are_refused_with_an_example(sentence):
    with pytest.raises(ValueError, match="pick up the red ball"):
        language.parse(sentence)


@pytest.mark.parametrize(
    "said", ["把红色方块放进蓝碗", "🎬", "ｐｕｔ", "поставь", "ضع", "ö", "o\u0308ffne", "2"]
)
def test_words_of_other_scripts_signs_and_digits_count_as_unknown(said):
    assert language.unknown_words(said) == [said]
    assert language.unknown_words(f"put it {said}, gently") == ["it", said, "gently"]
    with pytest.raises(ValueError, match="is not a table-top sentence"):
        language.parse(f"put the red block in the blue bowl {said}")
    assert language.unknown_words("「Put... the_red BLOCK!」") == []


def test_unknown_words_are_named_in_order():
    said = "Gently put the pink block in the wok"
    assert language.unknown_words(said) == ["gently", "pink", "wok"]
    assert language.unknown_words("put the red block in the blue bowl") == []


@pytest.mark.parametrize("task", EVERY_TASK, ids=lambda task: language.instructions(task)[0])
def test_a_task_has_four_states_that_name_its_object_and_tell_failure_from_success(task):
    success, failure = language.states(task), language.states(task, succeeds=False)
    assert len(success) == len(failure) == 4
    assert all(task.object in state for state in success + failure)
    assert success[-1] != failure[-1]
    assert "not" in failure[-1] or "still" in failure[-1]


def test_states_mention_a_missed_grasp():
    states = language.states(Task("put", "red ball", "blue plate"), grasps=False, carries=False)
    assert states[1] == "the gripper fails to grasp the red ball"
    assert states[2] == "the gripper moves to the blue plate without the red ball"


def test_plates_are_put_on_and_bowls_are_put_in():
    on, into = Task("put", "red ball", "blue plate"), Task("put", "red ball", "blue bowl")
    assert language.instructions(on)[0] == "put the red ball on the blue plate"
    assert language.instructions(into)[0] == "put the red ball in the blue bowl"
    assert language.states(on)[-1] == "the red ball is on the blue plate and the gripper is empty"


def test_the_vocabulary_is_that_of_the_sentences():
    words = language.vocabulary()
    assert {"stack", "nudge", "camera", "misses", "purple"} <= words
    assert "pink" not in words
    assert language.unknown_words(" ".join(words)) == []

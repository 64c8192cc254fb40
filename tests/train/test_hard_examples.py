import pytest

from aid.config import HardExampleConfig, TrainConfig
from aid.data.cache import Cache
from aid.train.hard_examples import drawn_groups, hard_pairs, oversampled, same_frame_groups


def test_videos_whose_instructions_contain_the_words_are_drawn_more_often(cache):
    data = Cache(cache)
    alone, pairs = same_frame_groups(data, 1), same_frame_groups(data, 2)
    assert oversampled(data, alone, {}) == alone
    drawn = oversampled(data, alone, {"right": 4})  # the odd ones, tests/conftest.py
    assert [drawn.count([i]) for i in range(6)] == [1, 4, 1, 4, 1, 4]
    # A pair is drawn as often as its videos ask for on average; of two words the larger counts.
    drawn = oversampled(data, pairs, {"push": 2, "RIGHT": 5})
    assert [drawn.count(pair) for pair in pairs] == [round((2 + 5) / 2)] * 3


def test_pairs_that_differ_in_two_words_only_are_drawn_in_addition(cache):
    data = Cache(cache)
    pairs = same_frame_groups(data, 2)
    assert hard_pairs(data, {}) == []
    assert hard_pairs(data, {"left, right": 3}) == [pair for _ in range(3) for pair in pairs]
    assert hard_pairs(data, {"RIGHT,left": 1}) == pairs
    config = HardExampleConfig(group_size=2, hard_pairs={"left, right": 2})
    assert drawn_groups(data, config) == pairs * 3


@pytest.mark.parametrize("words", ["left, push", "left, lef", "up, down"])
def test_words_in_which_no_two_videos_differ_are_refused(cache, words):
    with pytest.raises(ValueError, match=f"names '{words}', but no two videos of one first frame"):
        hard_pairs(Cache(cache), {words: 2})


@pytest.mark.parametrize("pairs", [{"left": 2}, {"left, right": 0}, {"a, b, c": 1}, {"a,, b": 1}])
def test_hard_pairs_are_two_words_and_a_number(pairs):
    with pytest.raises(ValueError, match="hard_pairs must be two words with a comma"):
        HardExampleConfig(group_size=2, hard_pairs=pairs)
    with pytest.raises(ValueError, match="draws two videos together, but group_size is 1"):
        HardExampleConfig(hard_pairs={"left, right": 2})


def test_words_of_no_instruction_are_refused(cache):
    data = Cache(cache)
    with pytest.raises(ValueError, match="names 'pus', but no instruction of the cache"):
        oversampled(data, same_frame_groups(data, 1), {"push": 2, "pus": 3})
    with pytest.raises(ValueError, match="at least 1, got 0 for 'push'"):
        HardExampleConfig(oversample={"push": 0})


def test_videos_that_share_no_first_frame_are_drawn_one_by_one_with_a_warning(cache):
    data = Cache(cache)
    with pytest.raises(ValueError, match=r"the most are 2. Set hard_examples.group_size to 2"):
        same_frame_groups(data, 3)
    data.rows = [row for number, row in enumerate(data.rows) if number % 2]
    with pytest.warns(UserWarning, match="no two videos of the cache .* the same first frame"):
        assert same_frame_groups(data, 2) == [[0], [1], [2]]


def test_a_group_size_that_does_not_divide_the_batch_is_refused():
    with pytest.raises(ValueError, match="group_size must divide batch_size, got 3 and 8"):
        TrainConfig(batch_size=8, hard_examples=HardExampleConfig(group_size=3))

import pytest

from aid.config import TrainConfig
from aid.data.cache import Cache
from aid.train.groups import contrasting, drawn_groups, emphasised, families


def test_videos_whose_instructions_have_the_words_are_drawn_more_often(cache):
    data = Cache(cache)
    alone, pairs = families(data, 1), families(data, 2)
    assert emphasised(data, alone, {}) == alone
    drawn = emphasised(data, alone, {"right": 4})  # the odd ones, tests/conftest.py
    assert [drawn.count([i]) for i in range(6)] == [1, 4, 1, 4, 1, 4]
    # A pair is drawn as often as its videos ask for on average; of two words the larger counts.
    drawn = emphasised(data, pairs, {"push": 2, "RIGHT": 5})
    assert [drawn.count(pair) for pair in pairs] == [round((2 + 5) / 2)] * 3


def test_pairs_that_one_exchange_of_words_tells_apart_are_drawn_besides(cache):
    data = Cache(cache)
    pairs = families(data, 2)
    assert contrasting(data, {}) == []
    assert contrasting(data, {"left, right": 3}) == [pair for _ in range(3) for pair in pairs]
    assert contrasting(data, {"RIGHT,left": 1}) == pairs
    train = TrainConfig(batch_size=2, siblings=2, contrasts={"left, right": 2})
    assert drawn_groups(data, train) == pairs * 3


@pytest.mark.parametrize("words", ["left, push", "left, lef", "up, down"])
def test_words_that_tell_no_two_videos_apart_are_refused(cache, words):
    with pytest.raises(ValueError, match=f"names '{words}', but no two videos of one first frame"):
        contrasting(Cache(cache), {words: 2})


@pytest.mark.parametrize(
    "contrasts", [{"left": 2}, {"left, right": 0}, {"a, b, c": 1}, {"a,, b": 1}]
)
def test_contrasts_are_two_words_and_a_number(contrasts):
    with pytest.raises(ValueError, match="contrasts must be two words with a comma"):
        TrainConfig(siblings=2, batch_size=2, contrasts=contrasts)
    with pytest.raises(ValueError, match="contrasts are pairs of videos, but siblings is 1"):
        TrainConfig(contrasts={"left, right": 2})


def test_words_that_nobody_says_are_refused(cache):
    data = Cache(cache)
    with pytest.raises(ValueError, match="names 'pus', but no instruction of the cache"):
        emphasised(data, families(data, 1), {"push": 2, "pus": 3})
    with pytest.raises(ValueError, match="at least 1 for all words, got 0 for 'push'"):
        TrainConfig(emphasis={"push": 0})


def test_videos_without_siblings_are_drawn_one_by_one_and_it_says_so(cache):
    data = Cache(cache)
    with pytest.raises(ValueError, match=r"the most are 2. Use train.siblings=2"):
        families(data, 3)
    data.rows = [row for number, row in enumerate(data.rows) if number % 2]
    with pytest.warns(UserWarning, match="no two videos of the cache .* the same first frame"):
        assert families(data, 2) == [[0], [1], [2]]

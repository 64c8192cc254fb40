import itertools

import pytest

from aid.data.order import batch_indices, epoch_index, epoch_order


@pytest.mark.parametrize("length", [1, 2, 3, 10, 16, 17, 1000])
def test_every_epoch_sees_every_video_once(length):
    for epoch in range(3):
        assert sorted(epoch_order(length, seed=0, epoch=epoch)) == list(range(length))


def test_an_order_is_a_pure_function_of_seed_and_epoch():
    assert epoch_order(100, 0, 0) == epoch_order(100, 0, 0)
    orders = {tuple(epoch_order(100, seed, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_orders_are_as_mixed_as_random_ones():
    """Where a video goes says nothing about where it came from or where its neighbour goes."""
    n, epochs = 101, 100
    orders = [epoch_order(n, 7, epoch) for epoch in range(epochs)]
    for place in (0, 1, n - 1):
        seen = [order[place] for order in orders]
        assert abs(sum(seen) / epochs - (n - 1) / 2) < 4 * n / (12 * epochs) ** 0.5
        assert len(set(seen)) > 45  # 100 draws of 101: about 64 are expected
    neighbours = sum(abs(a - b) == 1 for order in orders for a, b in itertools.pairwise(order))
    assert 100 < neighbours < 310  # two a random order


def test_a_place_in_a_set_of_a_billion_costs_nothing():
    assert 0 <= epoch_index(10**9, seed=1, epoch=2, position=987_654_321) < 10**9


def test_batches_are_the_epochs_cut_into_pieces():
    seen = [index for step in range(9) for index in batch_indices(6, 4, seed=3, step=step)]
    orders = [index for epoch in range(6) for index in epoch_order(6, 3, epoch)]
    assert seen == orders


def test_a_batch_may_be_larger_than_the_set():
    assert sorted(batch_indices(3, 6, seed=0, step=0)) == [0, 0, 1, 1, 2, 2]

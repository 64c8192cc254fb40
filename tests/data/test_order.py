import itertools

import pytest

from aid.data.order import batch_indices, epoch_order


@pytest.mark.parametrize("length", [1, 2, 3, 10, 16, 17, 1000])
def test_every_epoch_sees_every_video_once(length):
    for epoch in range(3):
        assert sorted(epoch_order(length, seed=0, epoch=epoch)) == list(range(length))


def test_an_order_is_a_pure_function_of_seed_and_epoch():
    first = epoch_order(100, 0, 0).tolist()
    epoch_order.cache_clear()
    assert epoch_order(100, 0, 0).tolist() == first
    orders = {tuple(epoch_order(100, seed, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_orders_are_as_mixed_as_random_ones():
    """The place of a video says nothing about its number or the place of its neighbour."""
    n, epochs = 101, 100
    orders = [epoch_order(n, 7, epoch).tolist() for epoch in range(epochs)]
    for place in (0, 1, n - 1):
        seen = [order[place] for order in orders]
        assert abs(sum(seen) / epochs - (n - 1) / 2) < 4 * n / (12 * epochs) ** 0.5
        assert len(set(seen)) > 45  # 100 draws of 101: about 64 are expected
    neighbours = sum(abs(a - b) == 1 for order in orders for a, b in itertools.pairwise(order))
    assert 100 < neighbours < 310  # two per random order


def test_the_orders_of_large_sets_do_not_accumulate_in_memory():
    for epoch in range(4):
        order = epoch_order(1_000_000, 1, epoch)
    assert order.nbytes == 8_000_000
    assert epoch_order.cache_info().currsize <= 2


def test_the_largest_seed_of_a_recipe_has_an_order():
    assert sorted(epoch_order(5, 2**63 - 1, 0)) == [0, 1, 2, 3, 4]


def test_batches_are_the_epochs_cut_into_pieces():
    seen = [index for step in range(9) for index in batch_indices(6, 4, seed=3, step=step)]
    orders = [index for epoch in range(6) for index in epoch_order(6, 3, epoch)]
    assert seen == orders


def test_a_batch_may_be_larger_than_the_set():
    assert sorted(batch_indices(3, 6, seed=0, step=0)) == [0, 0, 1, 1, 2, 2]

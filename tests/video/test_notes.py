from aid.video import Note, summarise


def test_notes_are_one_line_for_each_kind_with_a_count_and_an_example():
    pairs = [
        ("a", Note("gaps", 2)),
        ("b", Note("turned")),
        ("c", Note("gaps", 3)),
        ("c", Note("gaps", 1)),
    ]
    assert summarise(pairs) == [
        "2 videos (6 in all), the first is 'a': gaps.",
        "1 video, the first is 'b': turned.",
    ]
    assert summarise([]) == []

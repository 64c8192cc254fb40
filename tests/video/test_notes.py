from aid.video import Note, NoteCounter


def test_notes_are_one_line_for_each_kind_with_a_count_and_an_example():
    tally = NoteCounter()
    assert tally.lines() == []
    tally.add("a", [Note("gaps", 2)])
    tally.add("b", [Note("turned")])
    tally.add("c", [Note("gaps", 3), Note("gaps", 1)])
    other = NoteCounter()
    other.add("d", [Note("turned")])
    tally.merge(other.kinds)
    assert tally.lines() == [
        "2 videos (6 in all), the first is 'a': gaps.",
        "2 videos, the first is 'b': turned.",
    ]

import numpy as np
import pytest
import torch

from aid.predict.sampling import FrameEncodings


def doubled(asked):
    """An encoder that notes what it is asked."""

    def encode(rows):
        asked.append(len(rows))
        return 2 * rows, rows.sum(dim=-1, keepdim=True)

    return encode


def test_a_frame_is_encoded_once_and_answers_stay_in_order():
    kept, asked = FrameEncodings(), []
    a, b, c = torch.rand(3, 4)
    first = kept.look_up("x", torch.stack([a, b, a]), doubled(asked))
    again = kept.look_up("x", torch.stack([b, c]), doubled(asked))
    assert asked == [1, 1, 1]
    assert torch.equal(first[0], 2 * torch.stack([a, b, a]))
    assert torch.equal(again[0], 2 * torch.stack([b, c]))
    assert torch.equal(again[1], torch.stack([b, c]).sum(-1, keepdim=True))


def test_kinds_are_separate_and_the_oldest_encoding_is_dropped():
    kept, asked = FrameEncodings(capacity=2), []
    a, b, c = torch.rand(3, 1, 4)
    for kind in ("x", "y", "x"):
        kept.look_up(kind, a, doubled(asked))
    assert asked == [1, 1]
    for frame in (b, a, c, a, b):  # a is used, so b goes when c comes
        kept.look_up("x", frame, doubled(asked))
    assert asked == [1, 1, 1, 1, 1]


@pytest.fixture
def asked(predictor, monkeypatch):
    """Names of the encoders that the backbone is asked for, one after another."""
    names = []
    for name in ("encode_image", "encode_condition"):
        ask = getattr(predictor.backbone, name)
        monkeypatch.setattr(
            predictor.backbone, name, lambda *a, n=name, ask=ask: (names.append(n), ask(*a))[1]
        )
    monkeypatch.setattr(predictor, "encodings", FrameEncodings())
    return names


def picture(number):
    return np.random.default_rng(number).integers(0, 256, (64, 64, 3)).astype(np.uint8)


def test_further_instructions_on_a_frame_encode_nothing_and_change_nothing(predictor, asked):
    def draw(said, frame, seed=0):
        return predictor(frame, said, states=["drop it"], num_steps=1, seed=seed).frames

    draw("lift the red ball", picture(0))
    assert asked == ["encode_image", "encode_condition"]
    reused = draw("push the red can to the left", picture(0))
    assert len(asked) == 2
    draw(
        "push the red can to the left", picture(0), seed=1
    )  # another noise augmentation of the same frame
    assert asked[2:] == ["encode_condition"]
    draw("push the red can to the left", picture(1))
    assert asked[3:] == ["encode_image", "encode_condition"]
    predictor.encodings = FrameEncodings()
    assert np.array_equal(reused, draw("push the red can to the left", picture(0)))


def test_a_preview_is_available_after_every_step(predictor):
    looks = []
    made = predictor(
        picture(0), "push the red can to the left", states=["drop it"], num_steps=2, num_videos=2,
        on_preview=lambda look: looks.append(look(2)),
    )  # fmt: skip
    assert [len(look) for look in looks] == [2, 2]
    assert looks[0][0].shape == (2, 64, 64, 3)
    assert looks[0][0].dtype == np.uint8
    # The last step's estimate is the result, but for what the decoder mixes over time.
    far = np.abs(looks[0][0][-1].astype(int) - made.frames[-1]).mean()
    near = np.abs(looks[1][0][-1].astype(int) - made.frames[-1]).mean()
    assert near < far


def test_states_are_available_before_prediction(predictor):
    said = predictor.states_for(picture(0), "lift the red ball")
    assert said[-1] == "the red ball is held in the air"

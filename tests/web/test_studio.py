"""Drawing for visitors, with a model whose steps the test controls."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from aid.config import SamplerConfig
from aid.predict import Prediction
from aid.web.limits import Limits, Settings
from aid.web.studio import Model, RequestStopped, Result, Status, Studio, VideoRequest
from aid.web.tabs import facts_of

VIDEO = np.zeros((3, 64, 64, 3), np.uint8)
PREDICTION = Prediction(
    videos=[VIDEO],
    given=VIDEO[:1],
    instruction="lift the red can",
    states=[],
    state_writer="caller",
    seed=7,
    fps=4.0,
    sampler=SamplerConfig(num_steps=4, image_guidance=1.0, text_guidance=2.5),
)


@pytest.fixture
def draw(models, tiny_backbone, picture, tmp_path):
    """Starts a request whose video is what `predict_many` gives."""
    (tmp_path / "frame.png").write_bytes(picture)
    model = Model.load(str(models / "one"), str(tiny_backbone), "cpu")

    def start(predict_many):
        model.predictor.predict_many = predict_many
        settings = Settings(num_steps=4, image_guidance=1.0, text_guidance=2.5, seed=7)
        request = VideoRequest(
            model=model, instruction="lift the red can", states=[], settings=settings
        )
        studio = Studio([model], Limits())
        return studio, studio.draw(("here", "me"), tmp_path / "frame.png", [request])

    return start


def test_a_stop_after_the_last_step_is_a_stop_and_is_seen_at_once(draw):
    may_end = threading.Event()

    def decode(*_, **__):
        studio.queue.cancel(("here", "me"))  # somebody presses Stop
        assert may_end.wait(60)
        return [VIDEO]

    studio, updates = draw(decode)
    assert next(updates) == Status(is_reading=True)
    seen = next(one for one in updates if one.is_stopping)
    assert seen == Status(is_stopping=True)
    may_end.set()
    with pytest.raises(RequestStopped):
        list(updates)
    studio.queue.close()
    assert studio.queue.running is None


def test_a_request_that_nobody_stops_gives_its_video(draw):
    _, updates = draw(lambda *_, **__: [VIDEO])
    *_, result = updates
    assert isinstance(result, Result)
    assert result.predictions[0].frames is VIDEO


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.0, float("inf")), ""),
        ((3.0, float("inf")), " (only at sigma 3 and above)"),
        ((0.0, 20.0), " (only at sigma 0 to 20)"),
    ],
)
def test_the_facts_say_where_guidance_acts_unless_it_is_everywhere(interval, words):
    sampler = replace(PREDICTION.sampler, guidance_interval=interval)
    said = facts_of(replace(PREDICTION, sampler=sampler))
    assert said == f"4 steps, s_V 1, s_T 2.5{words}, seed 7; states by caller."

from dataclasses import replace

import numpy as np
import pytest

from aid.config import SamplerConfig
from aid.predict import Prediction
from aid.web.predict_tab import facts_of

PREDICTION = Prediction(
    videos=[np.zeros((3, 64, 64, 3), np.uint8)], given=np.zeros((1, 64, 64, 3), np.uint8),
    instruction="lift it", states=[],
    state_writer="caller", seed=7, fps=4.0,
    sampler=SamplerConfig(num_steps=4, image_guidance=1.0, text_guidance=2.5),
)  # fmt: skip


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

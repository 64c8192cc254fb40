"""`aid web` itself, but for instructions that break it or never end, for the tests of the page.

    python faulty_studio.py web --model ...

The faults come from where real ones come from: the model in the middle of its sampling, and the
state writer. Everything above is what `aid web` runs.
"""

import time

from aid.cli import main
from aid.predict import Predictor
from aid.worlds import Understood

SECRET = "what only the server may know"
IN_SAMPLING = {"run out of memory": MemoryError, "break in the middle": RuntimeError}
IN_WRITING = "forget how to write"
ENDLESS, BEGUN = "draw for ever", "an endless drawing has begun"

_predict_many, _states_for = Predictor.predict_many, Predictor.states_for
_understand = Predictor.understand


def predict_many(self, frames, instructions, seeds, *, on_preview, **options):
    words = instructions[0]

    def step(look):
        on_preview(look)
        if words in IN_SAMPLING:
            raise IN_SAMPLING[words](SECRET)
        if words == ENDLESS:
            print(BEGUN, flush=True)
        while words == ENDLESS:
            time.sleep(0.05)
            on_preview(look)  # raises once nobody listens any more

    return _predict_many(self, frames, instructions, seeds, on_preview=step, **options)


def states_for(self, frame, instruction):
    if instruction == IN_WRITING:
        raise KeyError(SECRET)
    return _states_for(self, frame, instruction)


def understand(self, frame, instruction):
    if instruction in (*IN_SAMPLING, IN_WRITING, ENDLESS):
        return Understood(instruction=instruction)
    return _understand(self, frame, instruction)


if __name__ == "__main__":
    Predictor.predict_many, Predictor.states_for = predict_many, states_for
    Predictor.understand = understand
    raise SystemExit(main())

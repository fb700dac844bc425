"""Training states, compared bit for bit."""

from collections.abc import Collection

import numpy as np

from rmvpe.training.state import RunState


def assert_same_state(a: RunState, b: RunState, ignore: Collection[str] = ()) -> None:
    """All numbers, texts and tensors are the same; `ignore` are texts that may differ, such as "git_commit"."""
    assert (a.step, a.examples, a.updates, a.config) == (b.step, b.examples, b.updates, b.config)
    texts = [{key: text for key, text in state.about.items() if key not in ignore} for state in (a, b)]
    assert texts[0] == texts[1]
    assert dict(a.scaler) == dict(b.scaler)
    for part in ("weights", "average", "first_moment", "second_moment", "generators"):
        tensors, others = getattr(a, part), getattr(b, part)
        assert tensors.keys() == others.keys()
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(tensor, others[name], err_msg=f"{part} {name}")

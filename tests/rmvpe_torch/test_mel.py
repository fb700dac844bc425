"""The device's log-mel is rmvpe.mel's."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rmvpe import mel as host  # noqa: E402
from rmvpe.config import MelConfig, ModelConfig  # noqa: E402
from rmvpe_torch import mel  # noqa: E402
from tests.helpers.sounds import sounds  # noqa: E402


@pytest.mark.parametrize("name", sounds())
@pytest.mark.parametrize("config", [MelConfig(), ModelConfig.e2e().mel], ids=["e2e0", "e2e"])
@pytest.mark.parametrize("semitones", [0.0, -12.0, 12.0])
def test_it_is_the_hosts(name: str, config: MelConfig, semitones: float):
    sound = sounds()[name].astype(np.float32)
    expected = host.log_mel(sound, config, key_shift_semitones=semitones, centred=False)
    audio = torch.from_numpy(np.stack([sound, sound[::-1]]))
    # The product sums half a window in float32: its rounding shows in bands a thousand times quieter than the rest
    by_product = 2e-3 if semitones > 0 else 1e-3  # a window twice as long
    for complex_fft, tolerance in ((None, 1e-5), (True, 1e-5), (False, by_product)):
        found = mel.log_mel(audio, config, key_shift_semitones=semitones, complex_fft=complex_fft).numpy()
        assert found.shape == (2, *expected.shape)
        assert found.dtype == np.float32
        assert np.abs(found[0] - expected).max() <= tolerance


def test_less_than_a_window_is_refused():
    with pytest.raises(ValueError, match="1023 samples"):
        mel.log_mel(torch.zeros(1, 1023), MelConfig())
    assert mel.log_mel(torch.zeros(1, 1024), MelConfig()).shape == (1, 1, 128)

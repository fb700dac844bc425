"""Arrays that people really have: each is read as the same sound, or refused in one sentence that says what to do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmvpe.audio import from_array, to_mono_16k
from rmvpe.errors import UserError
from tests.rmvpe.test_recommended import estimator

SOUND = (0.5 * np.sin(np.arange(4000) * 0.1)).astype(np.float32)
SHORTS = np.round(SOUND * 32768).astype(np.int16)


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.setflags(write=False)
    return array


SAME = {
    "list": SOUND.tolist(),
    "tuple": tuple(SOUND.tolist()),
    "float64": SOUND.astype(np.float64),
    "big-endian float32": SOUND.astype(">f4"),
    "big-endian float64": SOUND.astype(">f8"),
    "read-only": read_only(SOUND),
    "strided": np.repeat(SOUND, 3)[::3],
    "reversed": SOUND[::-1].copy()[::-1],
    "one row": SOUND[None, :],
    "one column": SOUND[:, None],
    "memoryview": memoryview(SOUND),
    "masked, nothing missing": np.ma.MaskedArray(SOUND),
    "column of columns": np.asfortranarray(np.stack([SOUND, SOUND], axis=1)),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_sound_however_it_is_held(name: str):
    np.testing.assert_array_equal(to_mono_16k(SAME[name], 16000), SOUND)


@pytest.mark.parametrize("dtype", ["int16", ">i2", "<i4", ">i4"])
def test_integers_of_either_byte_order(dtype: str):
    kind = np.dtype(dtype)
    array = np.round(SOUND.astype(np.float64) * 2.0 ** (8 * kind.itemsize - 1)).astype(kind)
    np.testing.assert_allclose(to_mono_16k(array, 16000), SOUND, atol=2e-5)


REFUSED: dict[str, tuple[Any, str]] = {
    "int64": (SHORTS.astype(np.int64), "int64 has no known full scale"),
    "big-endian int64": (SHORTS.astype(">i8"), "int64 has no known full scale"),
    "uint16": (SHORTS.astype(np.uint16), "uint16 has no known full scale"),
    "uint32": (SHORTS.astype(np.uint32), "uint32 has no known full scale"),
    "uint64": (SHORTS.astype(np.uint64), "uint64 has no known full scale"),
    "integers in a list": (SHORTS.tolist(), "int64 has no known full scale"),
    "bool": (SHORTS > 0, "truth values"),
    "complex": (SOUND.astype(complex), "complex numbers"),
    "text": (np.array(["a", "b"]), "text"),
    "objects": (np.array([SOUND, None], dtype=object), "objects of type object"),
    "dates": (np.array(["2020-01-01"], dtype="M8[D]"), "dates"),
    "None": (None, "objects of type object"),
    "a number": (0.5, r"not of shape \[\]"),
    "ragged": ([[0.1, 0.2], [0.3]], "cannot be read as an array of samples"),
    "a path": ("song.wav", "str, not an array.*from_file"),
    "a path object": (Path("song.wav"), "not an array.*from_file"),
    "bytes": (SHORTS.tobytes(), "bytes, not an array"),
    "samples missing": (np.ma.MaskedArray(SOUND, SOUND > 0.4), "masked array in which samples are missing"),
    "four rows": (np.zeros((4, 16000)), r"4 channels give its transpose, audio.T; for 4 recordings use from_batch"),
    "three axes": (np.zeros((2, 1, 100)), r"shape \[2, 1, 100\].*audio\[0\]"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_sound_is_one_sentence(name: str):
    array, words = REFUSED[name]
    with pytest.raises(UserError, match=words) as caught:
        from_array(array, 16000)
    assert "\n" not in str(caught.value)


def test_tensors_of_torch():
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(SOUND.copy())
    for same in (tensor, tensor.clone().requires_grad_(), torch.nn.Parameter(tensor), tensor[None], tensor.double()):
        np.testing.assert_array_equal(to_mono_16k(same, 16000), SOUND)
    np.testing.assert_allclose(to_mono_16k(tensor.to(torch.bfloat16), 16000), SOUND, atol=2e-3)
    np.testing.assert_array_equal(to_mono_16k(torch.from_numpy(SHORTS.copy()), 16000), to_mono_16k(SHORTS, 16000))
    with pytest.raises(UserError, match="complex"):
        to_mono_16k(tensor.to(torch.complex64), 16000)
    with pytest.raises(UserError, match="cannot be read as an array"):
        to_mono_16k(tensor.to("meta"), 16000)


def test_arrays_of_jax():
    jnp = pytest.importorskip("jax.numpy")
    np.testing.assert_array_equal(to_mono_16k(jnp.asarray(SOUND), 16000), SOUND)
    np.testing.assert_allclose(to_mono_16k(jnp.asarray(SOUND, jnp.bfloat16), 16000), SOUND, atol=2e-3)


def test_series_of_pandas():
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(to_mono_16k(pandas.Series(SOUND), 16000), SOUND)
    np.testing.assert_array_equal(to_mono_16k(pandas.DataFrame({"l": SOUND, "r": SOUND}), 16000), SOUND)


BATCH = np.random.default_rng(0).standard_normal((3, 8000)).astype(np.float32)


def test_a_batch_is_its_recordings_one_after_the_other():
    shares: list[float] = []
    tracks = estimator().from_batch(BATCH, 16000, hop_s=0.02, progress=shares.append, f0_min_hz=80.0)
    assert tracks == [estimator().from_audio(row, 16000, hop_s=0.02, f0_min_hz=80.0) for row in BATCH]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert estimator().from_batch(list(BATCH), 16000) == estimator().from_batch(BATCH, 16000)
    assert estimator().from_batch(np.zeros((0, 100)), 16000) == []


def test_lengths_cut_the_padding_of_a_batch():
    tracks = estimator().from_batch(BATCH, 16000, lengths=[8000, 100, 0])
    assert [len(track) for track in tracks] == [51, 1, 0]
    assert tracks[1] == estimator().from_audio(BATCH[1, :100], 16000)
    unequal = [BATCH[0], BATCH[1][:5000]]
    assert [len(track) for track in estimator().from_batch(unequal, 16000)] == [51, 32]


def test_a_batch_of_torch():
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(BATCH.copy()).requires_grad_()
    lengths = torch.tensor([8000, 4000, 8000])
    assert estimator().from_batch(tensor, 16000, lengths) == estimator().from_batch(BATCH, 16000, [8000, 4000, 8000])


@pytest.mark.parametrize(
    ("batch", "lengths", "words"),
    [
        (BATCH[0], None, r"\[batch, samples\], not of shape \[8000\]: use from_audio"),
        (BATCH[:, None], None, r"not of shape \[3, 1, 8000\]: take one channel"),
        ([BATCH], None, r"each recording of a batch must be \[samples\]"),
        (BATCH, [1, 2], "2 lengths do not fit a batch of 3"),
        (BATCH, [1, 2, 8001], "length 8001 of recording 2"),
        (BATCH, [-1, 2, 3], "length -1 of recording 0"),
    ],
)
def test_a_batch_of_another_shape(batch: Any, lengths: list[int] | None, words: str):
    with pytest.raises(UserError, match=words):
        estimator().from_batch(batch, 16000, lengths)

"""Configs: presets, strict JSON both ways, and the ranges that are checked."""

import dataclasses
import json
import math

import numpy as np
import pytest

from rmvpe import config, config_check
from rmvpe.config import AugmentConfig, DecodeConfig, MelConfig, ModelConfig, TrainConfig
from rmvpe.config_check import ConfigError


def test_e2e0_is_the_network_of_the_published_weights() -> None:
    preset = config.preset("e2e0")
    assert preset.mel == MelConfig(16000, 1024, 160, 128, 30.0, 8000.0, 1e-5)
    assert (preset.levels, preset.blocks, preset.inter_layers, preset.channels) == (5, 4, 4, 16)
    assert (preset.gru_hidden, preset.n_bins, preset.timbre_filter) == (256, 360, False)
    assert preset.time_multiple == 32


def test_e2e_is_the_papers_configuration() -> None:
    preset = config.preset("E2E")
    assert (preset.mel.n_mels, preset.mel.window_samples, preset.mel.hop_s) == (256, 2048, 0.02)
    assert preset.timbre_filter


@pytest.mark.parametrize("name", config.PRESETS)
def test_a_preset_bears_its_name(name: str) -> None:
    assert config.preset(name).name == name


def test_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'e2e1'.* e2e0, e2e, small"):
        config.preset("e2e1")


@pytest.mark.parametrize(
    "value",
    [
        ModelConfig.e2e0(),
        ModelConfig.e2e(),
        ModelConfig.small(),
        ModelConfig(name="x", mel=MelConfig(n_mels=64), levels=3, dropout=0.5),
        DecodeConfig(),  # f0_max_hz is infinite, which JSON writes as Infinity
        DecodeConfig(decoder="viterbi", threshold=0.5, f0_min_hz=50.0, f0_max_hz=1100.0, pad="reflect"),
        DecodeConfig(threshold=1, calibration=[2, np.float32(0.5)]),  # type: ignore[arg-type]
        AugmentConfig(key_shift_semitones=(0.0, 5.0)),
        TrainConfig(data="elsewhere", seed=7),
    ],
)
def test_json_round_trip(value: object) -> None:
    again = config_check.from_json(type(value), config_check.to_json(value))
    assert again == value
    assert hash(again) == hash(value)


def test_json_of_a_partial_table_fills_in_defaults() -> None:
    assert config_check.from_json(ModelConfig, '{"channels": 4}') == ModelConfig(channels=4)


def test_whole_numbers_are_accepted_for_floats_and_become_floats() -> None:
    rebuilt = config_check.from_json(MelConfig, '{"f_min_hz": 40}')
    assert isinstance(rebuilt.f_min_hz, float)
    assert rebuilt.f_min_hz == 40.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"chanels": 4, "blok": 1}', "ModelConfig: unknown setting blok, chanels; known are name, mel, levels"),
        ('{"mel": {"hop": 160}}', "ModelConfig.mel: unknown setting hop"),
        ('{"mel": 160}', "ModelConfig.mel must be a table of settings, not int"),
        ('{"channels": "16"}', "ModelConfig.channels must be .*int.*, not '16'"),
        ('{"channels": 16.0}', "ModelConfig.channels must be .*int.*, not 16.0"),
        ('{"channels": true}', "ModelConfig.channels must be .*int.*, not True"),
        ('{"timbre_filter": 1}', "ModelConfig.timbre_filter must be .*bool.*, not 1"),
        ('{"dropout": null}', "ModelConfig.dropout must be .*float.*, not None"),
        ("[]", "ModelConfig must be a table of settings, not list"),
        ("{", "ModelConfig: not JSON"),
        ('{"mel": {"n_mels": 100}}', "n_mels 100 must be a multiple of 2\\^levels = 32"),
    ],
)
def test_a_wrong_model_config_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_check.from_json(ModelConfig, text)


def test_a_range_needs_both_its_ends() -> None:
    with pytest.raises(ConfigError, match=r"AugmentConfig\.snr_db.*2 values"):
        config_check.from_json(AugmentConfig, '{"snr_db": [1.0]}')


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoder": "crepe"}, "crepe.*local-average, viterbi"),
        ({"pad": "edge"}, "edge.*silence, reflect, zero"),
        ({"threshold": 1.5}, r"threshold 1\.5"),
        ({"threshold": float("nan")}, "threshold nan"),
        ({"f0_min_hz": 500.0, "f0_max_hz": 100.0}, "f0_min must be below f0_max"),
        ({"f0_min_hz": None}, "f0_min_hz must be a number, not None"),
        ({"threshold": "0.5"}, "threshold must be a number, not '0.5'"),
        ({"threshold": True}, "threshold must be a number, not True"),
        ({"threshold": 0.2, "hysteresis": 0.3}, r"hysteresis 0\.3.*threshold, 0\.2"),
        ({"hysteresis": 1.1}, r"hysteresis 1\.1"),
        ({"silence_gate_db": float("nan")}, "silence gate nan"),
        ({"calibration": (0.0, 1.0)}, "calibration.*slope above 0"),
        ({"calibration": 1.0}, "calibration.*slope above 0"),
        ({"calibration": (1.0, 0.0, 0.0)}, "calibration.*slope above 0"),
        ({"calibration": ("1", "0")}, "calibration must be a number, not '1'"),
        ({"high_register": "no"}, "high_register must be True or False, not 'no'"),
    ],
)
def test_a_wrong_decode_config_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DecodeConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size must be from 1 to"),
        ({"excerpt_frames": 100}, "excerpt_frames 100.*multiple of 32"),
        ({"schedule": "linear"}, "schedule 'linear'"),
        ({"conv_dtype": "int8"}, "conv_dtype 'int8'"),
    ],
)
def test_a_wrong_train_config_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**settings)  # type: ignore[arg-type]


def test_configs_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig.e2e0().channels = 8  # type: ignore[misc]


def test_json_is_a_plain_table() -> None:
    table = json.loads(config_check.to_json(ModelConfig.small()))
    assert table["mel"]["hop_samples"] == 160
    assert table["name"] == "small"


NOT_NUMBERS = [float("nan"), float("inf"), -1, -1.0, True, None, "16", 10**30, 10**5000, 1e300, [1], 0.5, 2**63]


@pytest.mark.parametrize("make", [MelConfig, ModelConfig, TrainConfig, AugmentConfig])
def test_every_number_of_every_config_has_a_range(make: type) -> None:
    """What lies in the range of a setting gives a config at once; everything else a ConfigError that names it."""
    for field in dataclasses.fields(make):
        whole = field.type in (int, "int")
        if not whole and field.type not in (float, "float"):
            continue
        with pytest.raises(ConfigError, match=field.name):
            make(**{field.name: float("nan")})
        with pytest.raises(ConfigError, match=field.name):
            make(**{field.name: True})
        with pytest.raises(ConfigError, match=field.name):
            make(**{field.name: "16"})
        with pytest.raises(ConfigError):
            make(**{field.name: 10**5000})
        for value in NOT_NUMBERS:
            message = ""
            try:
                config_check.from_dict(make, {field.name: value})
            except ConfigError as error:
                message = str(error)
            assert len(message) < 1500


@pytest.mark.parametrize(
    "settings",
    [
        {"blocks": 10**9},
        {"levels": 40},
        {"channels": 44100},
        {"n_bins": 0},
        {"bn_epsilon": -1.0},
        {"dropout": 29.0},
        {"levels": 5, "channels": 512},  # each in its range, the network too large
        {"gru_hidden": 8192, "gru_layers": 16},
        {"mel": {"hop_samples": 0}},
        {"mel": {"hop_samples": 2**63}},
        {"mel": {"hop_samples": 2048}},  # longer than the window
        {"mel": {"window_samples": 10**7}},
        {"mel": {"window_samples": -1}},
        {"mel": {"floor": 0.0}},
        {"mel": {"floor": float("nan")}},
        {"mel": {"f_max_hz": 0.0}},
        {"mel": {"f_max_hz": 9000.0}},  # above half of the sample rate
        {"name": "x" * 10**5},
        {"name": 3},
    ],
)
def test_a_network_out_of_range_is_refused_before_anything_is_computed(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        config_check.from_dict(ModelConfig, settings)


def test_the_estimate_of_a_networks_size_is_never_too_small() -> None:
    from rmvpe.checkpoint.architecture import expected_tensors

    for name in config.PRESETS:
        preset = config.preset(name)
        true = sum(math.prod(shape) for shape in expected_tensors(preset).values())
        assert true <= preset.parameters_at_most <= 2 * true


def test_a_batch_of_gigabytes_is_refused() -> None:
    with pytest.raises(ConfigError, match="grad_accumulation"):
        TrainConfig(batch_size=16384, excerpt_frames=1024)
    assert TrainConfig(batch_size=512).batch_size == 512


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"channels": 1, "channels": 2}', "'channels' comes twice"),
        ('{"channels": 1' + "0" * 5000 + "}", "digits"),
        ('{"name": "é"}'.encode("latin-1"), "not UTF-8"),
        ("{}".encode("utf-16"), "UTF-16"),
    ],
)
def test_json_that_is_not_ours_is_a_sentence(text: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_check.from_json(ModelConfig, text)


def test_a_byte_order_mark_is_no_fault() -> None:
    assert config_check.from_json(ModelConfig, b"\xef\xbb\xbf{}") == ModelConfig()

"""What each augmentation does to one excerpt of the demo data set: the log-mel that the network sees, and its label.

python benchmarks/show_augmentation.py [-o docs/augmentation.png]
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rmvpe.config import AugmentConfig, MelConfig
from rmvpe.data import augment, effects
from rmvpe.data.mixing import mix_at_snr, rms
from rmvpe.data.readers.base import Item
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.data.synthesis.demo import make_demo
from rmvpe.files import atomic_path
from rmvpe.interpolation import f0_at_times
from rmvpe.mel import hz_to_mel, log_mel
from rmvpe.ownership import Output, check_outputs
from rmvpe.pictures.file import mark
from rmvpe.pictures.theme import DARK
from rmvpe.program import Command, run_program

MEL, CONFIG, RATE = MelConfig(), AugmentConfig(), MelConfig().sample_rate
ITEM, START_S, SECONDS, CONTEXT, SEED = 10, 3.0, 2.5, RATE, 3  # the excerpt, samples before it, of the numbers
Panel = tuple[str, np.ndarray, float, bool]  # title, sound, key shift in semitones, whether somebody sings


def panels(item: Item, other: Item, rng: np.random.Generator) -> Iterator[Panel]:
    """Every effect, with numbers drawn from its range in training or from its strong end."""
    part = slice(round(START_S * RATE) - CONTEXT, round((START_S + SECONDS) * RATE))
    assert item.accompaniment is not None and other.accompaniment is not None  # noqa: PT018
    sung, music, foreign = item.voice[part], item.accompaniment[part], other.accompaniment[part]
    voice, level = sung[CONTEXT:], rms(sung[CONTEXT:])
    yield "untouched\nvoice and label", voice, 0.0, True
    for shift in (augment.fast_key_shift(asked, MEL.window_samples) for asked in CONFIG.key_shift_semitones):
        yield f"key shift\n{shift:+.1f} semitones", voice, shift, True
    yield "backing voice\n-10 dB", voice + 10 ** (-10 / 20) * other.voice[part][CONTEXT:], 0.0, True
    mix = mix_at_snr(sung, music, level, snr_db := rng.uniform(0.0, 6.0))
    yield f"its own music\nvoice {snr_db:+.0f} dB", mix[CONTEXT:], 0.0, True
    loud = mix_at_snr(voice, foreign[CONTEXT:], level, snr_db := rng.uniform(-8.0, -2.0))
    yield f"foreign music\nvoice {snr_db:+.0f} dB", loud, 0.0, True
    yield "nobody sings\nmusic alone", music[CONTEXT:], 0.0, False
    noise = effects.coloured_noise(len(voice), RATE, colour := rng.uniform(*CONFIG.noise_colour), rng) * level / 4
    yield f"noise\n-12 dB, {-3.01 * colour:+.1f} dB per octave", voice + noise, 0.0, True
    rt60_s, share, ratio_db = rng.uniform(0.8, 1.5), rng.uniform(*CONFIG.rt60_high_share), rng.uniform(0.0, 6.0)
    room = effects.room_response(rt60_s, share, ratio_db, 0.02, RATE, CONTEXT / RATE, rng)
    title = f"in a room\nRT60 {rt60_s:.1f} s, direct sound {ratio_db:+.0f} dB"
    for name, dry in (("voice", sung), ("mix", mix)):
        yield f"{name} {title}", effects.reverberate(dry, room, CONTEXT), 0.0, True
    yield "spectral tilt\n-12 dB from 30 Hz to 8 kHz", effects.equalise(voice, RATE, -12.0), 0.0, True
    yield "band limits\n300 to 3400 Hz", effects.equalise(mix[CONTEXT:], RATE, 0.0, 300.0, 3400.0, 8), 0.0, True
    yield "compression\n8 : 1 from -20 dB", effects.compress(mix[CONTEXT:], RATE, -20.0, 8.0), 0.0, True
    yield "overload\npeaks 15 dB over the knee", effects.soft_clip(voice, 15.0), 0.0, True
    yield "codec\n6 dB in each band", effects.codec(mix[CONTEXT:], RATE, 6.0), 0.0, True
    chance = augment.augment(augment.Excerpt(sung, foreign, item.f0_hz, level, CONTEXT), MEL, CONFIG, rng)[0]
    yield "as in training\nall by chance", chance, 0.0, True


def draw(shown: Iterator[Panel], f0_hz: np.ndarray, path: Path) -> None:
    """A grid of log-mels with the label `f0_hz` [frames] in them, written to `path`."""
    figure = Figure(figsize=(12.0, 8.6), dpi=90, facecolor=DARK.paper, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    ticks_hz, extent = (200, 1000, 2000, 4000, 7000), (0.0, SECONDS, *hz_to_mel(np.array([MEL.f_min_hz, MEL.f_max_hz])))
    for axes, (title, sound, shift, sings) in zip(figure.subplots(4, 4, sharex=True, sharey=True).flat, shown):
        picture = log_mel(sound, MEL, key_shift_semitones=shift)[: len(f0_hz)].T
        axes.imshow(
            picture, origin="lower", aspect="auto", cmap=DARK.colormap(), vmin=picture.max() - 8.0, extent=extent
        )
        shifted = np.where((f0_hz > 0) & sings, f0_hz, np.nan) * 2.0 ** (shift / 12)
        axes.plot(np.linspace(0.0, SECONDS, len(f0_hz)), hz_to_mel(shifted), color=DARK.f0, linewidth=1.4)
        axes.set_title(title.replace("-", "−"), color=DARK.ink, fontsize=11, loc="left")
        axes.set_yticks(hz_to_mel(np.array(ticks_hz)), ticks_hz)
        axes.tick_params(colors=DARK.ink, labelsize=9, length=2)
        axes.spines[:].set_visible(False)
    figure.supxlabel("time (s)", color=DARK.ink, fontsize=11)
    figure.supylabel("frequency (Hz)", color=DARK.ink, fontsize=11)
    canvas.draw()
    # Only the picture's own colours: a quarter of the bytes, and as good to look at
    greys = np.linspace(to_rgb(DARK.paper), to_rgb(DARK.ink), 12)
    colours = np.vstack([DARK.colormap()(np.linspace(0.0, 1.0, 64))[:, :3], greys, to_rgb(DARK.f0)])
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.round(255 * colours).astype(np.uint8).tobytes())
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image = image.quantize(palette=palette, dither=Image.Dither.NONE)
    information = PngInfo()
    for key, text in mark(path).items():
        information.add_text(key, text)
    with atomic_path(path) as temporary:
        image.save(temporary, pnginfo=information)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/augmentation.png"), help="%(default)s")
    parser.add_argument("--force", action="store_true", help="replace a picture even if rmvpe has not drawn it")


def run(arguments: argparse.Namespace) -> int:
    """Draw the picture."""
    check_outputs([Output(arguments.output, "picture")], force=arguments.force)
    with tempfile.TemporaryDirectory() as folder:
        source = Hybrid(make_demo(Path(folder) / "demo"), "train")
        item, other = source[ITEM], source[ITEM + 1]
        f0_hz = f0_at_times(item.time_s, item.f0_hz, START_S + np.arange(0.0, SECONDS + 0.001, MEL.hop_s))
        draw(panels(item, other, np.random.default_rng(SEED)), f0_hz, arguments.output)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("show_augmentation", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())

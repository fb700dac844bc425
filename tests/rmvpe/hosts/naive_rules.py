"""What each host's wrapper does with the f0 of the network, one frame at a time: the rules of `rmvpe.hosts` once more.

In plain Python, without numpy, from the description of the hosts; slow, and easy to read. f0 is in Hz, 0 = unvoiced.
"""

import math

FRAME_S = 0.01  # seconds between the frames of the network


def filled(values: list[float], known: list[bool]) -> list[float]:
    """The values that are not known from their neighbours, on a straight line; the ends from the nearest one."""
    places = [place for place, is_known in enumerate(known) if is_known]
    if not places:
        return list(values)
    result = []
    for place, value in enumerate(values):
        before = [other for other in places if other <= place]
        after = [other for other in places if other >= place]
        if known[place]:
            result.append(value)
        elif not before:
            result.append(values[after[0]])
        elif not after:
            result.append(values[before[-1]])
        else:
            share = (place - before[-1]) / (after[0] - before[-1])
            result.append((1 - share) * values[before[-1]] + share * values[after[0]])
    return result


def filled_in_octaves(f0_hz: list[float]) -> list[float]:
    """The gaps filled on a straight line in log2."""
    if not any(f0_hz):
        return [0.0] * len(f0_hz)
    octaves = filled([math.log2(hz) if hz > 0 else 0.0 for hz in f0_hz], [hz > 0 for hz in f0_hz])
    return [2.0**octave for octave in octaves]


def at_time(values: list[float], time_s: float) -> float:
    """The value at a time, on a straight line between two frames, the last one for later times."""
    place = round(time_s / FRAME_S, 12)  # a time on a frame is that frame's, whatever the rounding of the division
    left = math.floor(place)
    if left >= len(values) - 1:
        return values[-1]
    share = place - left
    return (1 - share) * values[left] + share * values[left + 1]


def aligned(values: list[float], step_s: float, length: int) -> list[float]:
    """The values every `step_s` seconds up to the last frame; what is missing of `length` repeats the last of these."""
    result: list[float] = []
    while len(result) < length:
        time_s = len(result) * step_s
        if result and time_s >= (len(values) - 1) * FRAME_S - 1e-9:
            result.append(result[-1])
        else:
            result.append(at_time(values, time_s))
    return result


def so_vits(f0_hz: list[float], p_len: int) -> tuple[list[float], list[float]]:
    """so-vits-svc: f0 [p_len] without gaps, and 1 where voiced [p_len]."""
    stretched = [f0_hz[frame * len(f0_hz) // p_len] for frame in range(p_len)]
    voiced = [1.0 if hz > 0 else 0.0 for hz in stretched]
    return filled(stretched, [hz > 0 for hz in stretched]), voiced


def diffsinger(
    f0_hz: list[float], rate: int, length: int, hop: int, speed: float = 1.0, interp_uv: bool = False
) -> tuple[list[float], list[bool]]:
    """DiffSinger and SOME: f0 [length], and True where unvoiced [length]."""
    step_s = round(hop * speed) / rate
    unvoiced = [share > 0.5 + 1e-6 for share in aligned([float(hz == 0) for hz in f0_hz], step_s, length)]
    curve = aligned(filled_in_octaves(f0_hz), step_s, length)
    if not interp_uv:
        curve = [0.0 if off else hz for hz, off in zip(curve, unvoiced)]
    return curve, unvoiced


def without_glitches(f0_hz: list[float], low_hz: float, high_hz: float, gap: int) -> list[float]:
    """ROSVOT: 0 outside the range, then wherever two zeros have `gap` frames between them."""
    result = [hz if low_hz <= hz <= high_hz else 0.0 for hz in f0_hz]
    for frame in range(len(result) - gap - 1):
        if result[frame] == 0 and result[frame + gap + 1] == 0:
            for between in range(frame, frame + gap + 2):
                result[between] = 0.0
    return result


def rosvot(
    f0_hz: list[float],
    rate: int,
    length: int,
    hop: int,
    interp_uv: bool = False,
    range_hz: tuple[float, float] = (50.0, 1000.0),
    gap: int = 2,
) -> tuple[list[float], list[bool]]:
    """ROSVOT: f0 [length], not filled before it is moved to the other hop, and True where unvoiced [length]."""
    clean = without_glitches(f0_hz, *range_hz, gap)
    unvoiced = [share > 0.5 + 1e-6 for share in aligned([float(hz == 0) for hz in clean], hop / rate, length)]
    curve = aligned(clean, hop / rate, length)
    if not interp_uv:
        curve = [0.0 if off else hz for hz, off in zip(curve, unvoiced)]
    return curve, unvoiced


def ddsp(f0_hz: list[float], n_frames: int, hop: float, rate: int, f0_min: float, uv_interp: bool) -> list[float]:
    """DDSP-SVC and Diffusion-SVC: f0 [n_frames] of the part of the audio that was read."""
    step_s = hop / rate
    whole = filled(f0_hz, [hz > 0 for hz in f0_hz])
    shares = [at_time([float(hz == 0) for hz in f0_hz], frame * step_s) for frame in range(n_frames)]
    curve = [at_time(whole, frame * step_s) for frame in range(n_frames)]
    curve = [0.0 if share > 0.5 else hz for hz, share in zip(curve, shares)]
    if uv_interp:
        curve = [max(hz, f0_min) for hz in filled(curve, [hz > 0 for hz in curve])]
    return curve

"""The hosts: how a checkout is recognised, and what is run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.host_runs import curves, rvc, voices
from benchmarks.host_runs.stage import Demo, Report

Run = Callable[[Path, Demo, Report], None]


@dataclass(frozen=True)
class Host:
    """files: what the run reads, which no other host's checkout has all of. folder: where its imports start."""

    files: tuple[str, ...]
    run: Run
    folder: str = "."


HOSTS = {
    "rvc": Host(("infer/vc/pipeline.py", "infer/rtrvc.py", "train/dataset/extract_f0.py"), rvc.main_branch),
    "rvc-20240604": Host(
        (
            "infer/modules/vc/pipeline.py",
            "infer/lib/rtrvc.py",
            "infer/modules/train/extract/extract_f0_print.py",
        ),
        rvc.branch_20240604,
    ),
    "fumiama": Host(("rvc/f0/gen.py",), rvc.fumiama),
    "mangio": Host(("vc_infer_pipeline.py",), rvc.mangio),
    "aicovergen": Host(("src/vc_infer_pipeline.py",), rvc.aicovergen),
    "vietnamese-rvc": Host(("main/library/predictors/Generator.py",), rvc.vietnamese),
    "applio": Host(
        ("rvc/infer/pipeline.py", "rvc/realtime/pipeline.py", "rvc/lib/predictors/F0Extractor.py"), voices.applio
    ),
    "ultimate-rvc": Host(
        ("src/ultimate_rvc/rvc/infer/pipeline.py", "src/ultimate_rvc/rvc/lib/predictors/F0Extractor.py"),
        voices.ultimate_rvc,
        folder="src",
    ),
    "seed-vc": Host(("modules/length_regulator.py", "modules/rmvpe.py"), voices.seed_vc),
    "w-okada": Host(
        (
            "server/voice_changer/RVC/pitchExtractor/RMVPEPitchExtractor.py",
            "server/voice_changer/DiffusionSVC/pitchExtractor/rmvpe/rmvpe.py",
        ),
        voices.w_okada,
        folder="server",
    ),
    "deiteris": Host(
        (
            "server/voice_changer/RVC/pitchExtractor/RMVPEPitchExtractor.py",
            "server/voice_changer/common/rmvpe/rmvpe.py",
        ),
        voices.deiteris,
        folder="server",
    ),
    "so-vits-svc": Host(("modules/F0Predictor/RMVPEF0Predictor.py", "utils.py"), curves.so_vits),
    "ddsp-svc": Host(("ddsp/vocoder.py", "encoder/rmvpe/inference.py"), curves.ddsp_svc),
    "diffusion-svc": Host(("tools/tools.py", "encoder/rmvpe/inference.py"), curves.diffusion_svc),
    "yxlllc": Host(("main.py", "src/inference.py"), curves.yxlllc),
    "diffsinger": Host(("modules/pe/__init__.py", "utils/infer_utils.py", "utils/pitch_utils.py"), curves.diffsinger),
    "some": Host(("modules/rmvpe/__init__.py", "utils/pitch_utils.py"), curves.some),
    "rosvot": Host(("modules/pe/rmvpe/inference.py", "inference/rosvot.py"), curves.rosvot),
}

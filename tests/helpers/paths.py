"""Where the checkout is, and what the tests read from it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
DEMO_RECORDING = ROOT / "examples" / "demo.flac"

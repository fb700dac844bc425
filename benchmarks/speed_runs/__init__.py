"""The parts of `benchmarks/speed.py`: what is measured, one measurement in a fresh process, the table."""

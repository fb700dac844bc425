"""Mutation fuzzing of everything that reads: damaged and hostile files and command lines, under a watchdog."""

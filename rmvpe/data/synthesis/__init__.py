"""Synthetic singing, speech, tones and music, whose f0 is exact, because the sound is made from it."""

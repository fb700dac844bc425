"""What all pictures share: colours, marks in the file, the spectrogram, the time axis, notes."""

"""From f0 to notes with a float pitch: found by an exact dynamic programme, written as MIDI, tables and labels."""

"""Data sets whose labels are f0 over time, in the folders that their authors publish.

A class says where the files are, what a label means and what the licence is. `rmvpe.data.readers.registry` opens them
by name; songs labelled with notes are in `rmvpe.data.readers.note_corpora`.
"""

from collections.abc import Callable

import numpy as np

from rmvpe.data.readers.base import RecordingFiles
from rmvpe.data.readers.labels import last_time_s, read_label, read_time_f0
from rmvpe.data.readers.note_tables import read_onset_hz_duration
from rmvpe.data.readers.published import Published, by_singer, split_by_hash


class MDBStemSynth(Published):
    """MDB-stem-synth: 230 solo stems of MedleyDB, voices and instruments, resynthesised so that their f0 is exact.

        ROOT/audio_stems/NAME.RESYN.wav        44.1 kHz, mono
        ROOT/annotation_stems/NAME.RESYN.csv   seconds,Hz; no header; hop 128/44100 s from time 0; 0 Hz = unvoiced

    The sound was made from the annotation, so the annotation is exact at its times. Items have no accompaniment, and
    most are not voices: a network trained on them alone tracks any instrument. Splits are by artist (80/10/10), because
    most stems of an artist share sound and room; the set has no official split.
    Licence: CC BY-NC 4.0, so weights trained on it are not for commercial use. Cite: J. Salamon, R. Bittner,
    J. Bonada, J. J. Bosch, E. Gómez, J. P. Bello, "An analysis/synthesis framework for automatic f0 annotation of
    multitrack datasets", ISMIR 2017. https://zenodo.org/records/1481172
    """

    step_s = 128 / 44_100

    def find(self) -> list[RecordingFiles]:
        """Every stem."""
        return self._pairs("audio_stems", lambda stem: f"annotation_stems/{stem}.csv", ".RESYN")

    def splits(self) -> Callable[[str], str]:
        """By artist: the name up to its first underscore."""
        return lambda name: split_by_hash(name.split("_")[0])

    def annotation(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """`time_s` and `f0_hz` [points] as in the file."""
        return read_time_f0(self.recordings[index].label)

    def annotated_s(self, index: int) -> float:
        """Half a step after the last time."""
        return last_time_s(self.recordings[index].label) + self.step_s / 2


class Vocadito(Published):
    """vocadito: 40 excerpts of solo singing in seven languages, recorded on many devices, f0 corrected by hand.

        ROOT/Audio/vocadito_N.wav                   44.1 kHz, mono
        ROOT/Annotations/F0/vocadito_N_f0.csv       seconds,Hz; no header; hop 256/44100 s from time 0; 0 Hz = unvoiced
        ROOT/Annotations/Notes/vocadito_N_notesA1.csv   onset s, Hz, duration s; no header; for scores of notes only
        ROOT/vocadito_metadata.csv                  track_id,singer_id,...; needed for the splits only

    Two annotators wrote notes; those of the first are read.

    Items have no accompaniment. The set is small and meant for evaluation: use the split "all". The other splits are by
    singer: of every five of the 29 singers, the fourth is valid and the fifth test (26, 9 and 5 excerpts).
    Licence: CC BY 4.0. Cite: R. Bittner, K. Pasalo, J. J. Bosch, G. Meseguer-Brocal, D. Rubinstein, "vocadito: A
    dataset of solo vocals with f0, note, and lyric annotations", arXiv:2110.05580, 2021.
    https://zenodo.org/records/5578807
    """

    step_s = 256 / 44_100

    def find(self) -> list[RecordingFiles]:
        """Every excerpt."""
        return self._pairs("Audio", lambda stem: f"Annotations/F0/{stem}_f0.csv")

    def splits(self) -> Callable[[str], str]:
        """By singer, as vocadito_metadata.csv names them."""
        rows = self._table("vocadito_metadata.csv", ",")[1:]
        return by_singer({f"vocadito_{row[0]}": row[1] for row in rows}, self.root / "vocadito_metadata.csv")

    def annotation(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """`time_s` and `f0_hz` [points] as in the file."""
        return read_time_f0(self.recordings[index].label)

    def annotated_s(self, index: int) -> float:
        """Half a step after the last time."""
        return last_time_s(self.recordings[index].label) + self.step_s / 2

    def notes(self, index: int) -> np.ndarray:
        """Notes of item `index` by the first annotator, float64 [notes, 3]: onset and offset in seconds, MIDI number.

        Raises FileNotFoundError or UserError for a file that is not there or holds something else.
        """
        return read_onset_hz_duration(self.root / "Annotations" / "Notes" / f"{self.name(index)}_notesA1.csv")


class IKala(Published):
    """iKala: 252 excerpts of 30 s of Chinese pop songs by six singers, voice and accompaniment apart.

        ROOT/Wavfile/SONG_SECTION.wav       44.1 kHz; left channel accompaniment, right channel voice
        ROOT/PitchLabel/SONG_SECTION.pv     one MIDI number per 32 ms, 0 = unvoiced
        ROOT/id_mapping.txt                 singer TAB song, with a header; needed for the splits only

    Line k (counted from 1) is the frame from (k - 1) x 32 ms to k x 32 ms and so the time of its centre,
    (k - 1/2) x 32 ms. Splits by singer: of every five, in the order of id_mapping.txt, the fourth is valid and the
    fifth test, which gives four singers, one and one.
    Licence: for research only, and no longer given out by its authors. Cite: T.-S. Chan, T.-C. Yeh, Z.-C. Fan,
    H.-W. Chen, L. Su, Y.-H. Yang, R. Jang, "Vocal activity informed singing voice separation with the iKala dataset",
    ICASSP 2015.
    """

    accompaniment_left = True
    channels = (2,)
    step_s = 0.032

    def find(self) -> list[RecordingFiles]:
        """Every excerpt."""
        return self._pairs("Wavfile", lambda stem: f"PitchLabel/{stem}.pv")

    def splits(self) -> Callable[[str], str]:
        """By singer, as id_mapping.txt names them."""
        rows = [row for row in self._table("id_mapping.txt", "\t") if row[0] != "singer"]
        split_of = by_singer({row[1]: row[0] for row in rows}, self.root / "id_mapping.txt")
        return lambda name: split_of(name.split("_")[0])

    def annotation(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """`time_s` and `f0_hz` [points] at the centres of the 32 ms frames."""
        f0_hz = read_label(self.recordings[index].label)
        return self.step_s * (np.arange(len(f0_hz)) + 0.5), f0_hz

    def annotated_s(self, index: int) -> float:
        """The end of the last frame."""
        return self.step_s * len(read_label(self.recordings[index].label))

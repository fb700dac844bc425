"""What a file is, by its first bytes. Names of files do not count: many are wrong."""

from rmvpe.sound import mp3
from rmvpe.sound.view import Window

HEAD = 64  # bytes that `kind_of_head` needs
SEARCHED = 1 << 16  # bytes in which the frames of an MPEG stream must begin

# (offset, bytes, kind)
MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"RF64", "wav"),
    (0, b"FORM", "aiff"),
    (0, b"caff", "caf"),
    (0, b"riff\x2e\x91\xcf\x11", "w64"),
    (0, b".snd", "au"),
    (0, b"dns.", "au"),
    (0, b"NIST_1A", "nist"),
    (0, b"Creative Voice File", "voc"),
    (0, b"\x64\xa3\x01\x00", "ircam"),
    (0, b"\x00\x01\xa3\x64", "ircam"),
    (4, b"ftyp", "mp4"),
    (4, b"moov", "mp4"),
    (4, b"mdat", "mp4"),
    (4, b"wide", "mp4"),
    (4, b"skip", "mp4"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, bytes.fromhex("3026b2758e66cf11"), "asf"),
    (0, b"#!AMR", "amr"),
    (0, b"FLV\x01", "flv"),
    (0, b"wvpk", "wavpack"),
    (0, b"TTA", "tta"),
    (0, b"MAC ", "ape"),
    (0, b"MPCK", "musepack"),
    (0, b"MP+", "musepack"),
    (0, b"\x0b\x77", "ac3"),
    (0, b"\x7f\xfe\x80\x01", "dts"),
    (0, b"\x00\x00\x01\xba", "mpegps"),
    (0, b"ADIF", "aac"),
    (0, b".RMF", "rm"),
    (0, b"TAK", "tak"),
    (0, b"DSD ", "dsf"),
)
SNDFILE_KINDS = ("wav", "flac", "ogg", "mp3", "aiff", "caf", "w64", "au", "nist", "voc", "ircam")
NO_SOUND: tuple[tuple[int, bytes], ...] = (
    (0, b"\x89PNG"),
    (0, b"\xff\xd8\xff"),
    (0, b"GIF8"),
    (0, b"PK\x03\x04"),
    (0, b"%PDF"),
    (0, b"\x1f\x8b"),
    (0, b"\x93NUMPY"),
    (0, b"\x7fELF"),
)


def kind_of_head(head: bytes) -> str | None:
    """The kind that the first bytes tell; None: not known, which headerless MPEG streams are too."""
    if head[:4] in (b"RIFF", b"RIFX"):
        return {b"WAVE": "wav", b"AVI ": "avi", b"RMP3": "mp3"}.get(head[8:12])
    if head[:4] == b"FORM" and head[8:12] not in (b"AIFF", b"AIFC", b"8SVX", b"16SV"):
        return None
    for at, magic, kind in MAGIC:
        if head[at : at + len(magic)] == magic:
            return kind
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "aac"
    if mp3.frame_length(head[:4]):
        return "mp3"
    return None


def kind_of(window: Window) -> str | None:
    """The kind of a whole file; tags in front are passed over, and frames of MP3 are searched for."""
    start = mp3.end_of_id3(window)
    head = window.get(start, HEAD)
    kind = kind_of_head(head)
    if kind == "mp3" and not head.startswith(b"RIFF") and mp3.first_frame(window, start, SEARCHED) is None:
        kind = None
    if kind is None and not any(head[at : at + len(magic)] == magic for at, magic in NO_SOUND):
        packets = window.get(start, 188 * 4 + 1)
        if len(packets) > 188 * 3 and all(packets[at] == 0x47 for at in range(0, 188 * 3 + 1, 188)):
            return "mpegts"
        if mp3.first_frame(window, start, SEARCHED) is not None:
            return "mp3"
    return kind


def may_be_sound(head: bytes) -> bool:
    """Whether a file under an odd name is a recording, by its first bytes; text and pictures are none."""
    if head[:3] == b"ID3":
        return True
    kind = kind_of_head(head)
    # Two bytes say too little: any data may begin with these
    return kind is not None and kind not in ("mp3", "aac", "ac3")

"""Standard MIDI files of piano rolls.

A file has one track (format 0) at 120 quarter notes a minute; a step is a sixteenth note. Such a
file is a few dozen bytes of a fixed format, so that no library is needed to write it.
"""

import numpy as np

STEPS_PER_BEAT = 4
_TICKS_PER_STEP = 120
# Microseconds of a quarter note.
_TEMPO = 500_000
_ON, _OFF, _VELOCITY = 0x90, 0x80, 80
END_OF_TRACK = b"\xff\x2f\x00"


def notes(roll: np.ndarray) -> list[tuple[int, int, int]]:
    """Return the notes of a piano roll as ``(first step, step after the last, column)``, sorted.

    Successive steps of one pitch are one note.

    Args:
      roll: 0 or 1, ``[steps, pitches]``.
    """
    changes = np.diff(np.pad(roll.astype(np.int8), ((1, 1), (0, 0))), axis=0).T
    # Of each pitch, its beginnings and ends alternate, so that both are sorted alike.
    columns, starts = np.nonzero(changes == 1)
    ends = np.nonzero(changes == -1)[1]
    return sorted(zip(starts.tolist(), ends.tolist(), columns.tolist(), strict=True))


def midi(roll: np.ndarray, lowest_pitch: int) -> bytes:
    """Return a MIDI file of a piano roll, which lasts as long as the roll.

    Args:
      roll: 0 or 1, ``[steps, pitches]``.
      lowest_pitch: the MIDI number of the first column; 60 is C4.
    """
    events = []
    for start, end, column in notes(roll):
        pitch = lowest_pitch + column
        events += [(start, (_ON, pitch, _VELOCITY)), (end, (_OFF, pitch, 0))]
    track, now = b"\x00\xff\x51\x03" + _TEMPO.to_bytes(3, "big"), 0
    # At one time, notes end before others begin: their message is the smaller.
    for step, message in sorted(events):
        track += _variable_length((step - now) * _TICKS_PER_STEP) + bytes(message)
        now = step
    track += _variable_length((len(roll) - now) * _TICKS_PER_STEP) + END_OF_TRACK
    numbers = (0, 1, STEPS_PER_BEAT * _TICKS_PER_STEP)
    header = b"".join(number.to_bytes(2, "big") for number in numbers)
    chunks = {b"MThd": header, b"MTrk": track}
    return b"".join(name + len(x).to_bytes(4, "big") + x for name, x in chunks.items())


def _variable_length(number: int) -> bytes:
    """Return a number in 7 bits a byte, all but the last with the high bit set."""
    content = bytes([number & 0x7F])
    while number := number >> 7:
        content = bytes([number & 0x7F | 0x80]) + content
    return content

"""Colorizing films: each frame as a photograph, with colours that stay steady until the next cut; sound and subtitles are copied.

PyAV, which includes FFmpeg, reads and writes the films: `pip install av`.
"""

import contextlib

import numpy as np

from colorize_lib import files, images
from colorize_lib.errors import InputError, reason

# Suffix → the encoder of its pictures; other suffixes get that of MP4. A CRF of 18 looks like the original, and so does a
# quantizer of 3, which counts in steps of 1/118. MPEG's own containers lose the times of H.264.
_QUANTIZER = {"flags": "+qscale", "global_quality": str(3 * 118)}
_MPEG2 = "mpeg2video", _QUANTIZER
_ENCODERS = {
    ".webm": ("libvpx-vp9", {"crf": "24", "b": "0"}),
    ".avi": ("mpeg4", _QUANTIZER),
    ".mpg": _MPEG2,
    ".mpeg": _MPEG2,
}
_H264 = "libx264", {"crf": "18", "preset": "medium"}


def colorize_film(colorizer, film, target, steady, saturation=1.0):
    """Colorize the frames of a film at its own resolution and times.

    Args:
        colorizer: a trained `Colorizer`.
        film: path of the film.
        target: path of the file to write; its suffix chooses the container.
        steady: function of (ab, pixels) of successive frames that keeps their colours steady.
        saturation: factor on the predicted ab.

    Returns:
        List of notes on what is left out.

    Raises:
        InputError: PyAV is missing, the film cannot be opened, it is no film, or it is damaged; the message is the reason alone.
    """
    try:
        import av
    except ImportError as error:
        raise InputError("films need the library av: run `pip install av`") from error
    with contextlib.ExitStack() as stack:
        with files.disk_errors(film, "read"):
            file = stack.enter_context(files.open_regular(film))
        try:
            source = stack.enter_context(av.open(file))
            if not source.streams.video:
                raise InputError("it holds no pictures")
            return _colorized(av, source, target, colorizer, steady, saturation)
        except av.error.FFmpegError as error:
            raise InputError(f"it cannot be read or written as a film: {reason(error)}") from error


def _colorized(av, source, target, colorizer, steady, saturation):
    pictures = source.streams.video[0]
    if pictures.width * pictures.height > images.MAX_PIXELS:
        raise InputError(
            f"{pictures.width} × {pictures.height} pixels are more than the {images.MAX_PIXELS:,} that are read"
        )
    notes, output = [], None
    with av.open(str(target), "w") as result:
        result.metadata.update(source.metadata)
        copied = {}
        for stream in source.streams:
            if stream is pictures:
                continue
            try:
                copied[stream] = result.add_stream_from_template(stream)
            except (av.error.FFmpegError, ValueError, AttributeError):
                notes.append(f"its {stream.type} stream cannot be copied")
        packets = []  # that are not written yet: the first one writes the header, which needs the stream of pictures
        for packet in source.demux(pictures, *copied):
            if packet.stream in copied and packet.dts is not None:
                packet.stream = copied[packet.stream]
                packets.append(packet)
            for frame in packet.decode() if packet.stream is pictures else ():
                rgb = np.rot90(frame.to_ndarray(format="rgb24"), getattr(frame, "rotation", 0) // 90)
                rgb = np.ascontiguousarray(rgb)
                ab = steady(colorizer.predict_ab(rgb), rgb)
                coloured = av.VideoFrame.from_ndarray(colorizer.colorize(rgb, saturation, ab), format="rgb24")
                coloured.pts, coloured.time_base = frame.pts, frame.time_base
                output = output or _output(result, target, pictures, coloured)
                packets += output.encode(coloured)
            if output is not None:
                result.mux(packets)
                packets.clear()
        if output is None:
            raise InputError("it holds no pictures")
        result.mux(output.encode(None))
    return notes


def _output(result, target, pictures, frame):
    encoder, options = _ENCODERS.get(target.suffix.lower(), _H264)
    output = result.add_stream(encoder, rate=pictures.average_rate or 25, options=options)
    output.width, output.height = frame.width, frame.height
    output.time_base = pictures.time_base
    # Half the resolution of colour, as nearly all films have it, needs even sides.
    odd = frame.width % 2 or frame.height % 2
    output.pix_fmt = "yuv444p" if odd and options is not _QUANTIZER else "yuv420p"
    return output

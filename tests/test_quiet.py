"""TensorFlow's start-up notes do not reach the terminal; everything else does."""

import os
import subprocess
import sys

from colorize_lib import quiet


def error_output(code):
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_importing_tensorflow_after_the_library_prints_nothing():
    code = "import colorize_lib, keras, sys; keras.ops.ones(3) + 1; assert 'tensorflow' in sys.modules"
    assert error_output(code) == ""


def test_a_failing_import_of_tensorflow_still_shows_its_error(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os\nos.write(2, b'no such library\\n')\nraise ImportError('broken')\n"
    )
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import colorize_lib
try:
    import tensorflow
except ImportError as error:
    print("import failed:", error, file=sys.stderr)
"""
    assert error_output(code) == "no such library\nimport failed: broken\n"


def test_only_known_notes_are_dropped(capfd):
    with quiet.filtered_stderr():
        os.write(2, b"I0000 00:00:1795822107.321650   16788 cudart_stub.cc:31] Could not find cuda drivers.\n")
        os.write(2, b"E0000 00:00:1795822107.321650   16788 cudart_stub.cc:31] CUDA broke.\n")
        os.write(2, b"I am a user's own line")
    os.write(2, b", and so am I\n")
    written = capfd.readouterr().err
    assert "Could not find" not in written
    assert "CUDA broke." in written
    assert "I am a user's own line, and so am I" in written


def test_installing_again_changes_nothing():
    before = list(sys.meta_path)
    quiet.install()
    quiet.install()
    assert len(sys.meta_path) <= len(before) + 1


def test_the_types_that_a_processor_lacks_are_no_message():
    code = (
        "import colorize_lib as cl, numpy as np, tensorflow as tf\n"
        "colorizer = cl.Colorizer(cl.build('cnn', size=16, width=0.1), 'polychromify')\n"
        "tf.nn.softmax(tf.zeros([1, 2], 'float16'))\n"
        "colorizer.compile('adam', 'mse')\n"
        "colorizer.predict_color(np.zeros((1, 16, 16, 3), 'uint8'))\n"
    )
    assert error_output(code) == ""

"""The programs that pip puts on the PATH: each becomes the command that lies in this package. AMCT's `calibration`, whose
evaluators are in Python, is in Python itself."""
import os
import shutil
import sys

from ._library import version

_AMCT_USAGE = """usage: amct_caffe calibration --model FILE --weights FILE --save_path PREFIX ...
       amct_caffe config|prepare|export|run ...

  calibration   quantise a model without retraining it; amct_caffe calibration --help lists the options
  config, prepare, export, run
                the steps of retraining: "amct_caffe config" is "qaffe qat config"; qaffe help qat config
  --version     print the version
"""


def _find():
    """qaffe: in this package, beside the program that was called, or on the PATH."""
    places = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin"),
              os.path.dirname(os.path.realpath(sys.argv[0]))]
    found = [os.path.join(place, "qaffe") for place in places if os.path.isfile(os.path.join(place, "qaffe"))]
    return found[0] if found else shutil.which("qaffe") or os.path.join(places[0], "qaffe")


def _become(name):
    command = _find()
    try:
        os.execv(command, [name] + sys.argv[1:])
    except OSError as error:
        sys.exit("%s: %s: %s; install the package again" % (name, command, error.strerror))


def main():
    """Run qaffe under the name by which this was called (qaffe, caffe, convert_imageset, …)."""
    _become(os.path.basename(sys.argv[0]))


def amct():
    """Run the command of AMCT that the first word names; the exit status."""
    words = sys.argv[1:]
    if words[:1] == ["calibration"]:
        try:
            from amct_caffe.common.cmd_line_utils import calibration
        except (ImportError, ValueError) as error:  # numpy is missing, AMCT_LOG_LEVEL makes no sense
            sys.exit("amct_caffe calibration: error: %s" % error)
        return calibration.main(words[1:])
    if words[:1] == ["--version"]:
        print("amct_caffe %s" % version)
        return 0
    if not words or words[0] in ("help", "-h", "--h", "-help", "--help"):
        print(_AMCT_USAGE, end="", file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    return _become("amct_caffe")

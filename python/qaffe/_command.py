"""The programs that pip puts on the PATH: each becomes the command that lies in this package."""
import os
import sys


def main():
    """Run qaffe under the name by which this was called (qaffe, caffe, convert_imageset, …)."""
    command = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "qaffe")
    name = os.path.basename(sys.argv[0])
    try:
        os.execv(command, [name] + sys.argv[1:])
    except OSError as error:
        sys.exit("%s: %s: %s; install the package again" % (name, command, error.strerror))

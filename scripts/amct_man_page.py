#!/usr/bin/env python3
"""Writes the man page of the program amct_caffe, from the parser of its arguments.

    PYTHONPATH=build/release/python scripts/amct_man_page.py amct_caffe.1
"""
import sys

from amct_caffe.common.cmd_line_utils.arguments_handler import calibration_parser
from qaffe._library import version


def roff(text):
    return text.replace("\\", "\\e").replace("-", "\\-")


parser = calibration_parser()
lines = ['.TH "AMCT_CAFFE" 1 "" "qaffe %s" "qaffe"' % version,
         ".SH NAME", "amct_caffe \\- AMCT's program for Caffe",
         ".SH SYNOPSIS", ".B amct_caffe calibration"]
options = [action for action in parser._actions if action.metavar]
lines += ["\\fB%s\\fR \\fI%s\\fR" % (roff(option.option_strings[0]), roff(option.metavar))
          for option in options if option.required] + ["[options]", ".br", ".B amct_caffe config|prepare|export|run", "[options]"]
lines += [".SH DESCRIPTION", roff(parser.description), ".PP",
          "The other words are the steps of retraining: amct_caffe config is qaffe qat config; see qaffe(1).",
          ".SH OPTIONS", "Options of calibration, written " + roff("--name value or --name=value; a beginning is enough.")]
for option in options:
    lines += [".TP", "\\fB%s\\fR \\fI%s\\fR" % (roff(option.option_strings[0]), roff(option.metavar)),
              roff(option.help[0].upper() + option.help[1:] + ("; required." if option.required else "."))]
lines += [".SH ENVIRONMENT", ".TP", ".B AMCT_LOG_LEVEL",
          "DEBUG, INFO (default), WARNING or ERROR: what the screen shows. DEBUG keeps the folder of work, and shows where a "
          "mistake was found.",
          ".SH EXIT STATUS", "0: done. 1: the work failed; one sentence on stderr says why. 2: the command line was wrong.",
          ".SH EXAMPLE", ".nf", roff(parser.epilog.replace("Example: ", "")), ".fi", ".SH SEE ALSO", "qaffe(1)"]
with open(sys.argv[1], "w") as page:
    page.write("\n".join(lines) + "\n")

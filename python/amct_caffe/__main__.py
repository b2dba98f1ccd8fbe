"""`python -m amct_caffe` is the program amct_caffe."""
import sys

from qaffe._command import amct

if __name__ == "__main__":
    sys.exit(amct())

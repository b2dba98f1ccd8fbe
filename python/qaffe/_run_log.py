"""What retrain() shows while it works: progress on stderr, the whole log in a file."""
import sys
import time

from ._library import LogFunction, context, library, log_level, log_line, set_log_level

_INFO, _WARNING = 1, 2


class RunLog:
    """`with RunLog(path, verbose) as log:` sends the library's messages to a file, and to stderr those of warnings
    and errors, or all if `verbose`. The file begins with begin(): what fails before leaves the last run's."""

    def __init__(self, path, verbose):
        self._path, self._verbose = path, verbose
        self._lowest = log_level()
        self._waiting, self._file = [], None
        self._sink = LogFunction(self._take)

    def __enter__(self):
        library.qf_context_set_log(context, self._sink, None, _INFO)
        return self

    def __exit__(self, *_exception):
        set_log_level(self._lowest)
        if self._file:
            self._file.close()

    def begin(self):
        try:
            self._file = open(self._path, "w", buffering=1)
            self._file.writelines(self._waiting)
        except OSError as error:
            print("qaffe: cannot keep the log in %s: %s" % (self._path, error.strerror), file=sys.stderr)
        self._waiting = None

    def _take(self, _user, level, file, line, text):
        try:
            text = log_line(level, file, line, text) + "\n"
            if level >= (self._lowest if self._verbose else max(_WARNING, self._lowest)):
                sys.stderr.write(text)
            if self._file:
                self._file.write(text)
            elif self._waiting is not None:
                self._waiting.append(text)
        except (OSError, ValueError, AttributeError):
            pass  # stderr is closed, or the disk is full: the work goes on


class ProgressLine:
    """Where the work is: one line that is written anew on a terminal; elsewhere a line at tenths of the way, none
    within two seconds of the one before."""

    def __init__(self):
        self._live = sys.stderr is not None and sys.stderr.isatty()
        self._stage, self._tenth, self._shown = "", 0, time.monotonic()

    def __call__(self, now):
        stage, tenth = now.what.decode(), 10 * now.iteration // max(now.total, 1)
        clock = time.monotonic()
        if stage != self._stage:
            self._stage, self._tenth = stage, 0
        due = clock - self._shown > 0.1 if self._live else tenth > self._tenth and clock - self._shown > 2
        if not due or sys.stderr is None:
            return
        self._shown, self._tenth = clock, tenth
        text = "%s: %d of %d" % (stage, now.iteration, now.total)
        if not now.testing:
            text += "  loss %.4g" % now.loss
        if now.items_per_second > 0:
            text += "  %.0f img/s" % now.items_per_second
        sys.stderr.write("\r\033[K%.79s" % text if self._live else text + "\n")
        sys.stderr.flush()

    def close(self):
        if self._live:
            sys.stderr.write("\r\033[K")

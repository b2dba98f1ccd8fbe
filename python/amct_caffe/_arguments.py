"""Arguments as AMCT checks them: types, names of files, kinds of models."""
import functools
import inspect
import os

SAVE_TYPES = {"Fakequant": 1, "Deploy": 2, "Both": 3}


def checked(**types):
    """Check the types of arguments as AMCT does: names that are given here, in AMCT's words."""

    def decorate(function):
        signature = inspect.signature(function)

        @functools.wraps(function)
        def wrapper(*arguments, **keywords):
            bound = signature.bind(*arguments, **keywords)
            for name, value in bound.arguments.items():
                if not isinstance(value, types[name]):
                    raise TypeError("Func %s argument %s must be %r" % (function.__name__, name, types[name]))
            return function(*arguments, **keywords)

        return wrapper

    return decorate


OPTIONAL = (str, type(None))


def input_file(name):
    """The real path of a file that must be there."""
    real = os.path.realpath(name)
    if not name or not os.path.exists(real):
        raise OSError("the file '%s' does not exist" % name)
    if os.path.isdir(real):
        raise ValueError("'%s' should be a file's name but a path" % name)
    return os.fsencode(real)


def output_file(argument, name):
    """The path of a file to write; links are followed."""
    if not name:
        raise ValueError("%s: an empty string is an invalid value for the name of a file" % argument)
    if name.endswith("/") or os.path.isdir(name):
        raise ValueError("%s: '%s' should be a file's name but a path" % (argument, name))
    if len(os.path.basename(name)) > 254:
        raise ValueError("%s: the file name '%.40s...' is longer than 254 characters" % (argument, name))
    return os.fsencode(os.path.realpath(name))


def save_type(name):
    """The library's number of a kind of models."""
    if name not in SAVE_TYPES:
        raise ValueError("save_type must be Fakequant, Deploy or Both, but is '%s'" % name)
    return SAVE_TYPES[name]


def prefix(save_path):
    """The folder and the beginning of the names of files to write."""
    if not save_path:
        raise ValueError("save_path: an empty string is an invalid value for the beginning of file names")
    return os.fsencode(save_path)

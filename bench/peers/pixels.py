"""What peers whose accuracy is measured share: a net's images as `scripts/accuracy.py nets` laid them out, and a line of JSON.

Images lie as bytes; batches are made of them as Caffe's Data layer does: cropped (at random in training, else the middle),
mirrored in training where the net does so, the mean subtracted, scaled.
"""
import json
import math
import os
import time

import numpy


class Images:
    def __init__(self, folder, kind):
        with open(os.path.join(folder, "images.json")) as file:
            self.settings = json.load(file)
        self.bytes = numpy.load("%s/%s.npy" % (folder, kind), mmap_mode="r")
        self.labels = numpy.load("%s/%s_labels.npy" % (folder, kind)).astype(numpy.int64)
        mean = self.settings["mean"]
        self.mean = numpy.load(os.path.join(folder, mean)) if isinstance(mean, str) \
            else numpy.array(mean, numpy.float32).reshape(-1, 1, 1)

    def __len__(self):
        return len(self.labels)

    def one(self, index, draw):
        pixels, crop, mean = self.bytes[index].astype(numpy.float32), self.settings["crop"], self.mean
        free = [size - crop if crop else 0 for size in pixels.shape[1:]]
        top, left = [draw.randint(n + 1) if draw else n // 2 for n in free]
        if crop:
            pixels = pixels[:, top:top + crop, left:left + crop]
            mean = mean[:, top:top + crop, left:left + crop] if mean.shape[1] > 1 else mean
        pixels = (pixels - mean) * numpy.float32(self.settings["scale"])
        return pixels[:, :, ::-1] if draw and self.settings["mirror"] and draw.randint(2) else pixels

    def batch(self, indices, draw=None):
        """The images of `indices`; `draw` is a numpy RandomState: training."""
        return numpy.stack([self.one(i, draw) for i in indices])

    def batches(self, size, count=None):
        """All images, or the first `count`, in turn: (batch, labels)."""
        count = len(self) if count is None else min(count, len(self))
        for begin in range(0, count, size):
            span = slice(begin, min(begin + size, count))
            yield self.batch(range(*span.indices(count))), self.labels[span]


def training(images, batch, seen, seed):
    """Batches until `seen` images have been shown: shuffled anew for each epoch, as the seed has it."""
    draw, order = numpy.random.RandomState(seed), []
    for _ in range(-(-seen // batch)):
        if len(order) < batch:
            order += list(draw.permutation(len(images)))
        chosen, order = order[:batch], order[batch:]
        yield images.batch(chosen, draw), images.labels[chosen]


def all_scores(scores, images, size=100):
    return numpy.concatenate([scores(batch) for batch, _ in images.batches(size)])


def judged(found, labels, file=None):
    """Scores, images x classes. accuracy: percent of the images that are right. Scores that are quantised are often equal: of k
    classes with the largest score each counts 1 / k, as choosing by lot would have it; `tied` percent of the images are such.
    ties_wrong: as Caffe's Accuracy layer counts, to which a tie is wrong. What each image counts goes to the file, too."""
    largest = found == found.max(1, keepdims=True)
    count = largest.sum(1)
    right = largest[numpy.arange(len(labels)), labels.astype(int)]
    if file:
        os.makedirs(os.path.dirname(file), exist_ok=True)
        numpy.save(file, (right / count).astype(numpy.float32))
    return {"accuracy": 100 * float((right / count).mean()), "tied": round(100 * float((count > 1).mean()), 2),
            "ties_wrong": 100 * float((right & (count == 1)).mean())}


def error_of_difference(files, others):
    """Of the accuracies of two programs, each the mean of runs whose files judged() wrote: the standard error that the choice
    of test images leaves in the difference, in percent. None where there are no files."""
    if not files or not others:
        return None
    means = [numpy.mean([numpy.load(file) for file in runs], 0) for runs in (files, others)]
    return 100 * float((means[0] - means[1]).std(ddof=1)) / math.sqrt(len(means[0]))


def distance(found, expected):
    """How far scores of a quantised net (images x classes) are from the float net's: decibels, the ratio of the power of the
    float scores to that of the difference; changed, percent of the images that are answered otherwise. What all classes of
    an image have in common is left out, since softmax does not see it."""
    signal = expected - expected.mean(1, keepdims=True)
    noise = found - found.mean(1, keepdims=True) - signal
    return {"decibels": round(10 * math.log10((signal ** 2).sum() / (noise ** 2).sum()), 2),
            "changed": round(100 * float((found.argmax(1) != expected.argmax(1)).mean()), 2)}


def check_scores(scores, folder, peer):
    """Stops where the peer's float net computes something else than qaffe's."""
    expected = numpy.load(folder + "/probe_scores.npy")
    found = scores(numpy.load(folder + "/probe.npy"))
    worst = numpy.abs(found - expected).max() / numpy.abs(expected).max()
    if not worst < 1e-3:
        raise SystemExit("%s: %s: its float net is off by %.2g of the largest score" % (peer, folder, worst))


def report(method, version, tests, begin, **rest):
    print(json.dumps({"net": tests.settings["name"], "method": method, "version": version, "images": len(tests),
                      "seconds": round(time.monotonic() - begin, 1), **rest}), flush=True)

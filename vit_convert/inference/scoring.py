"""Many pictures through artifacts: decoded and scored by several threads, in order.

Pictures are scored in chunks, at fixed places in the list of all, so that what an artifact computes
does not depend on the number of threads, nor on where a run was stopped and went on.

Each thread does all of the work for a chunk. LiteRT, and Pillow where it decodes and resizes, leave
Python to other threads meanwhile. A .tflite file is opened once for each thread and computes on one
core: n inferences on n cores take less time than n one after the other, each on n cores, and the
cores have no need to wait while pictures are decoded. TensorFlow has threads of its own; artifacts
that it runs score one chunk at a time, while other threads decode the next.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from queue import SimpleQueue
from threading import Event, Lock
from typing import Any

import numpy as np

from vit_convert.architectures import Preprocessing
from vit_convert.errors import VitConvertError
from vit_convert.exporters.artifact import DYNAMIC, Artifact, Repeatable
from vit_convert.images.decoding import ImageError
from vit_convert.images.pictures import HeldPicture, decode_picture, name_of
from vit_convert.images.preprocessing import to_pixels
from vit_convert.inference.running import as_input, as_probabilities, check_classes
from vit_convert.runtime.processors import cores

_AHEAD = 2  # chunks for each thread that are done or waiting, before the next is begun
_SMALL = 8  # pictures of a chunk where each is computed by itself


@dataclass(frozen=True)
class Scores:
    """What artifacts say of one picture.

    Attributes:
        name: the picture's.
        classes: for each artifact, indices of the most probable classes, best first.
        probabilities: theirs, 0..1.
        problem: why the picture cannot be read; then there are no classes.
    """

    name: str
    classes: tuple[np.ndarray, ...] = ()
    probabilities: tuple[np.ndarray, ...] = ()
    problem: VitConvertError | None = None


class Scorer:
    """Scores pictures for one thread.

    Args:
        artifacts: open; no other thread runs them, unless the lock is held.
        top: classes of each picture.
        read: gives the bytes of a picture by its name, where it does not lie in memory.
        lock: held while an artifact that is not `Repeatable` computes.
        stop: once it is set, work is left undone.

    Attributes:
        seconds: that each artifact has computed.
        images: that were scored.
    """

    def __init__(
        self,
        artifacts: Sequence[Artifact],
        top: int,
        read: Callable[[str], bytes],
        lock: Any = nullcontext(),  # noqa: B008 - has no state
        stop: Event | None = None,
    ) -> None:
        self.artifacts, self.top, self.read = artifacts, top, read
        self.seconds = [0.0] * len(artifacts)
        self.images = 0
        self._lock, self._stop = lock, stop or Event()

    def __call__(self, pictures: Sequence[str | HeldPicture]) -> list[Scores]:
        """Score a chunk of pictures.

        Args:
            pictures: names, and pictures in memory.

        Returns:
            in their order; fewer where it was stopped.

        Raises:
            UsageError: an artifact does not take RGB, or gives no classes.
        """
        contents = []
        for picture in pictures:
            if self._stop.is_set():
                return []
            contents.append(self._decoded(picture))
        readable = [pixels for pixels, problem in contents if problem is None]
        found = [self._run(a, [p[a] for p in readable], len(pictures)) for a in self._indices()]
        if self._stop.is_set():
            return []
        self.images += len(readable)
        scores, place = [], 0
        for name, (_, problem) in zip(map(name_of, pictures), contents, strict=True):
            if problem is not None:
                scores.append(Scores(name, problem=problem))
                continue
            rows = [(best[place], values[place]) for best, values in found]
            scores.append(Scores(name, tuple(r[0] for r in rows), tuple(r[1] for r in rows)))
            place += 1
        return scores

    def _indices(self) -> range:
        return range(len(self.artifacts))

    def _decoded(
        self, picture: str | HeldPicture
    ) -> tuple[list[np.ndarray], VitConvertError | None]:
        """The pixels of a picture for each artifact, and what is wrong with it."""
        sizes: dict[tuple[Any, Preprocessing], np.ndarray] = {}
        pixels = []
        try:
            image = decode_picture(picture, self.read)
            for artifact in self.artifacts:
                how = (artifact.spec.config.image_size, artifact.spec.preprocessing)
                if how not in sizes:
                    sizes[how] = to_pixels(image, *how)
                pixels.append(sizes[how])
        except ImageError as error:
            return [], error
        return pixels, None

    def _run(
        self, index: int, pixels: list[np.ndarray], count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(pictures, top) classes and probabilities by one artifact."""
        artifact = self.artifacts[index]
        if not pixels:
            return np.empty((0, self.top), np.int64), np.empty((0, self.top))
        check_classes(artifact)
        alone = isinstance(artifact.run, Repeatable)
        # TensorFlow would trace its function again for another number of images.
        missing = 0 if alone else count - len(pixels)
        given = [*pixels, *[np.zeros_like(pixels[0])] * missing]
        step = _batch(artifact)
        parts = []
        for start in range(0, len(given), step):
            images = as_input(np.stack(given[start : start + step]), artifact)
            with nullcontext() if alone else self._lock:
                if self._stop.is_set():  # also while others computed
                    break
                started = time.perf_counter()
                parts.append(artifact.first_output(images))
                self.seconds[index] += time.perf_counter() - started
        if self._stop.is_set():
            return np.empty((0, self.top), np.int64), np.empty((0, self.top))
        scores = as_probabilities(np.concatenate(parts)[: len(pixels)], artifact)
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self.top]
        return best, np.take_along_axis(scores, best, axis=1)


class Pool:
    """Threads that score pictures.

    Args:
        artifacts: open.
        top: classes of each picture.
        read: gives the bytes of a picture by its name, where it does not lie in memory.
        workers: threads; by default as many as this process has cores.

    Attributes:
        chunk: pictures that are scored at a time.
        problem: of the first picture that could not be read.
    """

    def __init__(
        self,
        artifacts: Sequence[Artifact],
        top: int,
        read: Callable[[str], bytes],
        workers: int | None = None,
    ) -> None:
        self.problem: VitConvertError | None = None
        self._artifacts, self._top, self._read = artifacts, top, read
        self._workers = workers or cores()
        self._scorers: list[Scorer] = []
        self.chunk = chunk_size(artifacts)

    def scores(self, pictures: Sequence[str | HeldPicture]) -> Iterator[list[Scores]]:
        """Score pictures; chunks come in their order, soon after they are done.

        Raises:
            UsageError: as `Scorer`.
            ArtifactError: an artifact cannot be opened again.
        """
        starts = range(0, len(pictures), self.chunk)
        count = min(self._workers, len(starts))
        stop, lock = Event(), Lock()
        # Alone, it computes on all cores.
        self._scorers = [
            Scorer(self._opened(count > 1), self._top, self._read, lock, stop)
            for _ in range(max(count, 1))
        ]
        if count <= 1:
            for start in starts:
                yield self._seen(self._scorers[0](pictures[start : start + self.chunk]))
            return
        free: SimpleQueue[Scorer] = SimpleQueue()
        for scorer in self._scorers:
            free.put(scorer)

        def score(start: int) -> list[Scores]:
            scorer = free.get()
            try:
                return scorer(pictures[start : start + self.chunk])
            finally:
                free.put(scorer)

        waiting: deque[Future[list[Scores]]] = deque()
        with ThreadPoolExecutor(count) as threads:
            try:
                for start in starts:
                    if len(waiting) >= _AHEAD * count:
                        yield self._seen(waiting.popleft().result())
                    waiting.append(threads.submit(score, start))
                while waiting:
                    yield self._seen(waiting.popleft().result())
            finally:  # also where whoever asks wants no more
                stop.set()
                threads.shutdown(wait=False, cancel_futures=True)

    def _seen(self, scores: list[Scores]) -> list[Scores]:
        self.problem = self.problem or next((s.problem for s in scores if s.problem), None)
        return scores

    def refuse_if_none_was_read(self, count: int) -> None:
        """Raises ImageError if none of `count` pictures could be read."""
        if self.problem is not None and not any(scorer.images for scorer in self._scorers):
            raise none_was_read(count, self.problem)

    @property
    def rates(self) -> list[float | None]:
        """Images per second of each artifact on all cores, without decoding; None if none was
        scored."""
        images = sum(scorer.images for scorer in self._scorers)
        rates: list[float | None] = []
        for index, artifact in enumerate(self._artifacts):
            seconds = sum(scorer.seconds[index] for scorer in self._scorers)
            at_a_time = len(self._scorers) if isinstance(artifact.run, Repeatable) else 1
            rates.append(at_a_time * images / seconds if images else None)
        return rates

    def _opened(self, again: bool) -> list[Artifact]:
        return [opened_again(a) if again else a for a in self._artifacts]


def none_was_read(count: int, first: VitConvertError) -> VitConvertError:
    """The error where none of `count` pictures can be read: that of the first, if it is alone."""
    if count == 1:
        return first
    return ImageError(
        f"none of {count:,} pictures can be read; the first {first.what}",
        where=first.where,
        expected=first.expected,
    )


def opened_again(artifact: Artifact) -> Artifact:
    """The same artifact for another thread, where it is `Repeatable`."""
    run = artifact.run
    if not isinstance(run, Repeatable):
        return artifact
    return replace(artifact, run=Repeatable(run.again(), run.again))


def chunk_size(artifacts: Sequence[Artifact]) -> int:
    """Pictures that are scored at a time: few where each is computed by itself."""
    if all(isinstance(artifact.run, Repeatable) for artifact in artifacts):
        return max(_SMALL, *map(_batch, artifacts))
    return DYNAMIC


def _batch(artifact: Artifact) -> int:
    """Images that an artifact computes at a time."""
    size = artifact.options.batch_size
    if isinstance(size, int):
        return size
    return 1 if isinstance(artifact.run, Repeatable) else DYNAMIC

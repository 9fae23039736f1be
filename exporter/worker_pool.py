"""Work in other processes: those of this machine, or the workers of a Dask cluster.

A task is a function of a module and its arguments, and has no effect but its result. So it can be run again, by another
worker, where the one that had it died; and results do not depend on how many workers there are.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, ParamSpec, Protocol, Self, TypeVar
from urllib.parse import urlsplit

from exporter.errors import UsageError, WorkersClosedError, WorkersError

__all__ = ["WorkerPool", "open_pool"]

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")

_TRIES = 4
"""Workers that may die of a task, or beside it, before it is given up."""
_CONNECT_SECONDS = 10
_MOST_TASKS = 64
"""Tasks that a cluster is given at the same time at most: so many results may be on their way here."""
_SCHEMES = ("tcp", "tls", "ws", "wss")


class _Runner(Protocol):
    """Runs tasks somewhere."""

    count: int

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return the result of a task."""

    def close(self) -> None:
        """End the workers; tasks under way are broken off."""


class WorkerPool:
    """Runs tasks in other processes, several at a time; with a single worker it runs them in this process.

    Attributes
    ----------
    count : int
        Tasks that run at the same time.
    chosen : bool
        Whether somebody said how many workers there are.
    """

    def __init__(self, runner: _Runner | None = None, *, chosen: bool = True) -> None:
        self._runner = runner
        self.chosen = chosen
        self._closed = threading.Event()
        self.count = 1 if runner is None else runner.count

    def for_work(self, *, small: bool) -> WorkerPool:
        """Return the pool for some work: `small` work is done here, unless the number of workers was chosen."""
        return WorkerPool() if small and not self.chosen else self

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of a task; safe for several threads.

        Raises
        ------
        WorkersError
            Several workers died of it.
        """
        if self._runner is None:
            return function(*args, **kwargs)
        result: T = self._runner.run(function, *args, **kwargs)
        return result

    def map(self, function: Callable[[A], T], tasks: Iterable[A]) -> Iterator[T]:
        """Yield the results of tasks in their order; they are taken as there are workers for them."""
        if self._runner is None:
            yield from map(function, tasks)
            return
        with self.threads() as threads:
            waiting: deque[Future[T]] = deque()
            for task in tasks:
                waiting.append(threads.submit(self.run, function, task))
                if len(waiting) > self.count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    @contextlib.contextmanager
    def threads(self) -> Iterator[ThreadPoolExecutor]:
        """Yield as many threads as tasks run at the same time; they wait for tasks."""
        threads = ThreadPoolExecutor(self.count, "worker")
        try:
            yield threads
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def sleep(self, seconds: float) -> None:
        """Wait, until the pool is closed at most."""
        self._closed.wait(seconds)

    def close(self) -> None:
        """End the workers."""
        self._closed.set()
        if self._runner is not None:
            self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def open_pool(workers: str | None) -> WorkerPool:
    """Return a pool by the value of ``--workers``: a number of processes, or the address of a scheduler of Dask.

    Parameters
    ----------
    workers : str or None
        None: as many processes as this one may use cores.

    Raises
    ------
    UsageError
        It is neither, or the extra is not installed.
    WorkersError
        There is no scheduler, it has no workers, or they run another version.
    """
    text = str(len(os.sched_getaffinity(0))) if workers is None else workers
    if urlsplit(text).scheme in _SCHEMES:
        return WorkerPool(_Cluster(text))
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise UsageError(f"--workers: {text!r} is neither a number of processes nor an address as tcp://scheduler:8786")
    return WorkerPool(_Processes(int(text)) if int(text) > 1 else None, chosen=workers is not None)


class _Processes:
    """Processes of this machine; they start with the first task."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._closed = False

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        for _ in range(_TRIES):
            pool = self._started()
            try:
                return pool.submit(function, *args).result()
            except BrokenProcessPool:
                # All tasks under way are lost with one process, and each is run again.
                with self._lock:
                    if self._pool is pool:
                        self._pool = None
                        log.warning("a worker died, and what it did is done again; was there enough memory?")
                pool.shutdown(wait=False)
        raise WorkersError("workers die again and again: is there enough memory? Fewer take less: --workers=1")

    def _started(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._closed:
                raise WorkersClosedError("interrupted")
            if self._pool is None:
                # Not forked: this process has threads. A spawned one also works where stdin is a pipe.
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(self.count, context, initializer=_begin)
            return self._pool

    def close(self) -> None:
        with self._lock:
            self._closed, pool, self._pool = True, self._pool, None
        if pool is not None:
            processes = list((getattr(pool, "_processes", None) or {}).values())
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()


def _begin() -> None:
    """Set up a worker: Ctrl-C is for the process that started it, with which it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


class _Cluster:
    """The workers of a Dask cluster; its scheduler gives the tasks of a worker that died to others."""

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError:
            name = "prometheus-anomaly-exporter[cluster]"
            raise UsageError(f"--workers={address} needs Dask: pip install '{name}'") from None
        try:
            self._client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise WorkersError(f"--workers={address}: no scheduler answers: {error}") from None
        try:
            threads = self._client.nthreads()
            if not threads:
                raise WorkersError(f"--workers={address}: the scheduler has no workers")  # noqa: TRY301 - closed below.
            self._check(address)
        except BaseException:
            self._client.close()
            raise
        self.count = min(_MOST_TASKS, sum(threads.values()))
        self._closed = False

    def _check(self, address: str) -> None:
        """Raise where workers cannot give the same results: another version, or none."""

        def versions() -> dict[str, str]:
            # Within a function, so that it is sent whole to a worker that may not have this module.
            try:
                from importlib.metadata import version

                import exporter
            except ImportError:
                return {}
            return {"anomaly-exporter": str(exporter.__version__), "numpy": version("numpy")}

        own = versions()
        for worker, theirs in self._client.run(versions).items():
            what = next((f"runs {name} {theirs[name]}" for name in theirs if theirs[name] != own[name]), None)
            if not theirs:
                what = "has no anomaly-exporter"
            if what is not None:
                here = ", ".join(f"{name} {version}" for name, version in own.items())
                raise WorkersError(f"--workers={address}: the worker {worker} {what}; here is {here}")

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        # Not by a hash of its arguments, which is for results that are shared.
        future = self._client.submit(function, *args, pure=False)
        try:
            return future.result()
        except KilledWorker as error:
            raise WorkersError(f"workers of the cluster die again and again: {error}") from None
        except FutureCancelledError as error:
            raise (WorkersClosedError if self._closed else WorkersError)(f"the cluster is gone: {error}") from None

    def close(self) -> None:
        self._closed = True
        self._client.close()

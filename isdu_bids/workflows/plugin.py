"""Nipype's MultiProc plugin, made to survive a killed worker and to leave none behind."""

from __future__ import annotations

import os
import threading
import traceback
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context, parent_process
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer, run_node

_KILLED = (
    "A worker process was killed, most often because memory ran out. Lower --nprocs, raise --mem "
    "with the memory of the job, or use fewer scans per job."
)
_NOT_STARTED = (
    "no worker process could be started ({}); raise the limits of memory (ulimit -v) and of "
    "processes (ulimit -u), or lower --nprocs"
)


class ResilientMultiProc(MultiProcPlugin):
    """MultiProc in which a killed worker fails its own step, and all others go on.

    The parent loses the exception of a broken pool inside a callback and waits for ever
    (nipy/nipype#2700), and one killed worker breaks the steps of all the others; the kernel's
    out-of-memory killer does just that. So every worker is a pool of its own.
    """

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        super().__init__(plugin_args=plugin_args)
        self._workers: list[ProcessPoolExecutor] = []
        self._idle: list[ProcessPoolExecutor] = []

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid += 1
        task_id: int = self._taskid
        if getattr(node.interface, "terminal_output", "") == "stream":
            node.interface.terminal_output = "allatonce"
        worker = self._idle.pop() if self._idle else self._new_worker()
        try:
            future = worker.submit(run_node, node, updatehash, task_id)
        except BrokenProcessPool:  # killed while it had nothing to do
            worker = self._new_worker()
            future = worker.submit(run_node, node, updatehash, task_id)
        except (OSError, RuntimeError) as error:  # no memory or no right to start a thread
            self._store_failure(task_id, RuntimeError(_NOT_STARTED.format(error)))
            return task_id
        self._task_obj[task_id] = future
        future.add_done_callback(lambda done: self._store_result(task_id, worker, done))
        return task_id

    def _store_result(self, task_id: int, worker: ProcessPoolExecutor, future: Future[Any]) -> None:
        try:
            self._taskresult[task_id] = future.result()
        except BrokenProcessPool:
            self._store_failure(task_id, RuntimeError(_KILLED))
        except BaseException as error:
            self._store_failure(task_id, error)
            self._idle.append(worker)
        else:
            self._idle.append(worker)

    def _store_failure(self, task_id: int, error: BaseException) -> None:
        lines = traceback.format_exception(error)
        self._taskresult[task_id] = {"result": None, "traceback": lines, "taskid": task_id}

    def _clear_task(self, taskid: int) -> None:
        self._task_obj.pop(taskid, None)

    def _new_worker(self) -> ProcessPoolExecutor:
        worker = ProcessPoolExecutor(
            max_workers=1,
            initializer=_start_worker,
            initargs=(self._cwd,),
            mp_context=get_context(self.plugin_args.get("mp_context", "forkserver")),
        )
        self._workers.append(worker)
        return worker

    def _postrun_check(self) -> None:
        self.stop()

    def stop(self) -> None:
        """End all workers at once, whatever they do."""
        for worker in self._workers:
            for process in list((worker._processes or {}).values()):
                process.kill()
            with suppress(RuntimeError):  # its thread could not be started
                worker.shutdown(wait=False, cancel_futures=True)


def _start_worker(cwd: str) -> None:
    """Prepare a worker, which ends when the run that started it is gone, however it went."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    process_initializer(cwd)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

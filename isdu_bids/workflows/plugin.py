"""Nipype's MultiProc plugin, made to survive a killed worker."""

from __future__ import annotations

import traceback
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer, run_node

_KILLED = (
    "A worker process was killed, most often because memory ran out. Lower --nprocs, raise --mem "
    "with the memory of the job, or use fewer scans per job."
)


class ResilientMultiProc(MultiProcPlugin):
    """MultiProc that reports the nodes of a killed worker as failed and goes on with the others.

    The parent loses the exception of a broken pool inside a callback and waits for ever
    (nipy/nipype#2700); the kernel's out-of-memory killer does just that.
    """

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid += 1
        task_id: int = self._taskid
        if getattr(node.interface, "terminal_output", "") == "stream":
            node.interface.terminal_output = "allatonce"
        arguments = (node, updatehash, task_id)
        try:
            future = self.pool.submit(run_node, *arguments)
        except BrokenProcessPool:
            self._renew_pool()
            future = self.pool.submit(run_node, *arguments)
        self._task_obj[task_id] = future
        future.add_done_callback(lambda done: self._store_result(task_id, done))
        return task_id

    def _store_result(self, task_id: int, future: Future[Any]) -> None:
        try:
            self._taskresult[task_id] = future.result()
        except BaseException as error:
            lines = traceback.format_exception(error)
            if isinstance(error, BrokenProcessPool):
                lines.append(f"RuntimeError: {_KILLED}\n")
            self._taskresult[task_id] = {"result": None, "traceback": lines, "taskid": task_id}

    def _renew_pool(self) -> None:
        self.pool.shutdown(wait=False)
        self.pool: ProcessPoolExecutor = ProcessPoolExecutor(
            max_workers=self.processors,
            initializer=process_initializer,
            initargs=(self._cwd,),
            mp_context=get_context(self.plugin_args.get("mp_context", "forkserver")),
        )

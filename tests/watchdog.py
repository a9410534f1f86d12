"""A watchdog for tests that may hang."""

import asyncio
import collections
import faulthandler
import threading
import traceback


class Watchdog:
    """Runs a coroutine. If nobody calls `step` for `limit` seconds, it fails.

    It writes all stacks to `file`. A loop that still runs is stopped, and `run` raises.
    A loop that is blocked cannot be stopped: after two limits, `faulthandler` ends the
    process. That needs neither the loop nor the interpreter's lock.
    """

    def __init__(self, limit, file):
        self.limit = limit
        self.file = file
        self.steps = 0
        self.loop = asyncio.new_event_loop()
        self.stacks = None
        self.over = threading.Event()

    def step(self):
        self.steps += 1

    def run(self, coroutine):
        thread = threading.Thread(target=self.watch, daemon=True)
        thread.start()
        asyncio.set_event_loop(self.loop)
        try:
            return self.loop.run_until_complete(coroutine)
        except RuntimeError:
            if self.stacks is None:
                raise
            raise AssertionError(
                "Nothing has moved for %s seconds:\n%s" % (self.limit, self.stacks)
            ) from None
        finally:
            self.over.set()
            thread.join()
            faulthandler.cancel_dump_traceback_later()
            asyncio.set_event_loop(None)
            self.loop.close()

    def watch(self):
        seen = None
        while seen != self.steps:
            seen = self.steps
            faulthandler.dump_traceback_later(2 * self.limit, exit=True, file=self.file)
            if self.over.wait(self.limit):
                return
        stacks = collections.Counter(stack_of(task) for task in tasks(self.loop))
        self.stacks = "\n".join(
            "%d tasks:\n%s" % (count, stack) for stack, count in stacks.items()
        )
        self.file.write(self.stacks)
        self.file.flush()
        faulthandler.dump_traceback(self.file)
        self.loop.call_soon_threadsafe(self.loop.stop)


def tasks(loop):
    all_tasks = (
        getattr(asyncio, "all_tasks", None) or asyncio.Task.all_tasks
    )  # Python 3.6
    return {task for task in all_tasks(loop) if not task.done()}


def stack_of(task):
    """Return where `task` waits. `Task.print_stack` shows the outermost frame alone."""
    frames = []
    waiting = task._coro
    while waiting is not None:
        prefix = next(
            (p for p in ("cr", "gi", "ag") if hasattr(waiting, p + "_frame")), None
        )
        frame = getattr(waiting, "%s_frame" % prefix, None)
        if frame is not None:
            frames.append((frame, frame.f_lineno))
        waiting = getattr(
            waiting, "gi_yieldfrom" if prefix == "gi" else "%s_await" % prefix, None
        )
    return "".join(traceback.StackSummary.extract(frames).format())

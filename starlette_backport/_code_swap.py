"""Replace the code of a function, tell whether it is replaced, and restore it.

The function object stays the same. So the new code also reaches everyone who kept a
reference to the function, for instance instrumentation that captured ``cls.__call__``.

The new code has one more parameter than the function's own code: `PARAMETER`, which is
keyword-only. Its default is the `CodeSwap`. **A function counts as changed if its code
has this parameter.** It does not matter who put that code there: this copy of the
package, another copy of the package, or a profiler that has replaced our code by an
instrumented version of it. If a tool puts back the code that it saved before the
change, the function does not count as changed any more.

A call that is under way goes on with the code that it began with.
"""

import contextlib
import inspect
import types
from collections import deque
from typing import Deque, Dict, Optional, Set

PARAMETER = "starlette_backport"

# `find_behind` gives up after so many objects. Some objects, for instance
# `unittest.mock.call`, have any attribute that is asked for, and so have these
# attributes. Behind such an object, the search would never end.
MAX_OBJECTS = 1000


class CodeSwap:
    """One replacement of the code of `function` by `code`, and how to undo it.

    Each party that wants it is a *holder*. It is undone when the last holder leaves.
    Other copies of this package, perhaps of other versions, use the attributes and
    methods, too.
    """

    def __init__(
        self,
        function: types.FunctionType,
        code: types.CodeType,
        early_messages: types.ModuleType,
    ) -> None:
        self.function = function
        self.code = code
        #: The module `_early_messages`, for `code` to use.
        self.early_messages = early_messages
        self.holders: Set[object] = set()
        self.signature = inspect.signature(function)
        self.signature_before = vars(function).get("__signature__")
        #: A copy of the function as it is before the change, for `code` to call.
        self.original = types.FunctionType(
            function.__code__,
            function.__globals__,
            function.__name__,
            function.__defaults__,
            function.__closure__,
        )
        self.original.__qualname__ = function.__qualname__
        self.original.__kwdefaults__ = function.__kwdefaults__

    def add_holder(self, holder: object) -> None:
        self.holders.add(holder)
        if current_swap(self.function) is not self:
            self.replace_code()

    def remove_holder(self, holder: object) -> None:
        self.holders.discard(holder)
        if not self.holders:
            self.restore_code()

    def replace_code(self) -> None:
        # So that tools do not show the additional parameter.
        vars(self.function)["__signature__"] = self.signature
        defaults = self.original.__kwdefaults__ or {}
        self.function.__kwdefaults__ = {**defaults, PARAMETER: self}
        # The code comes last, and is restored first, because other threads may call the
        # function at any moment: its own code ignores the additional default.
        self.function.__code__ = self.code

    def restore_code(self) -> None:
        """Put back whichever of code, defaults and signature is still ours.

        Do nothing while another tool's code covers ours.
        """
        if recorded_swap(self.function) is not self:
            return
        if current_swap(self.function) is self:
            if self.is_covered():
                return
            self.function.__code__ = self.original.__code__
        self.function.__kwdefaults__ = self.original.__kwdefaults__
        attributes = vars(self.function)
        if attributes.get("__signature__") is self.signature:
            del attributes["__signature__"]
            if self.signature_before is not None:
                attributes["__signature__"] = self.signature_before

    def is_covered(self) -> bool:
        """Whether another tool has replaced our code by code that calls ours.

        For instance, ddtrace does so. Its code has our parameter, too, because it
        passes the argument on. An instrumented version of our code also has our
        parameter, but it uses the same names as our code, and covering code does not.
        """
        return self.function.__code__.co_names != self.code.co_names


def current_swap(function: types.FunctionType) -> Optional[CodeSwap]:
    """Return how `function` is changed at this moment, or None if it is not."""
    code = function.__code__
    number_of_parameters = code.co_argcount + code.co_kwonlyargcount
    if PARAMETER in code.co_varnames[:number_of_parameters]:
        return recorded_swap(function)
    return None


def recorded_swap(function: types.FunctionType) -> Optional[CodeSwap]:
    """Return the swap that the defaults of `function` contain, be it current or not."""
    defaults: Dict[str, CodeSwap] = function.__kwdefaults__ or {}
    return defaults.get(PARAMETER)


def current_or_new_swap(
    function: types.FunctionType, code: types.CodeType, early_messages: types.ModuleType
) -> CodeSwap:
    current = current_swap(function)
    if current is not None:
        return current
    left_over = recorded_swap(function)
    if left_over is not None:
        # A tool has put back the code that it saved before the change.
        left_over.restore_code()
    return CodeSwap(function, code, early_messages)


def find_behind(
    found: object, module: types.ModuleType, qualname: str
) -> Optional[types.FunctionType]:
    """Return the function `qualname` that `module` defined, if `found` leads to it.

    Other tools may have put wrappers around the function. A wrapper leads to it through
    its attribute ``__wrapped__``, or through the variables that it closes over.
    """
    queue: Deque[object] = deque([found])
    seen: Dict[int, object] = {}
    while queue and len(seen) < MAX_OBJECTS:
        candidate = queue.popleft()
        if id(candidate) in seen:
            continue
        # This also keeps the candidate alive, so that no other object gets its id.
        seen[id(candidate)] = candidate
        # A proxy may raise any error when it is asked for an attribute.
        with contextlib.suppress(Exception):
            queue.append(candidate.__wrapped__)  # type: ignore[attr-defined]
        # Not `isinstance`, which asks the object for its class: a proxy may lie.
        if type(candidate) is not types.FunctionType:
            continue
        if candidate.__globals__ is vars(module) and candidate.__qualname__ == qualname:
            return candidate
        for cell in candidate.__closure__ or ():
            # The cell of a variable that has no value yet is empty.
            with contextlib.suppress(ValueError):
                queue.append(cell.cell_contents)
    return None

"""The crossing between the event loop and blocking code."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 32
"""How many blocking calls run at once; further ones wait their turn."""

_pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="call")


async def call(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `fn` returns or raises, run in a thread while the loop serves others."""
    return await asyncio.get_running_loop().run_in_executor(_pool, lambda: fn(*args, **kwargs))

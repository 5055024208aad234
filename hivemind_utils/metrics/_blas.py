"""Threads of BLAS: the matrices of one prompt are small, so threads would wait for each other."""

import functools


def one_thread():
    """Context with one BLAS thread; entering it takes microseconds."""
    return _controller().limit(limits=1, user_api="blas")


@functools.cache
def _controller():
    import scipy.linalg  # noqa: F401  # brings a BLAS of its own
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()

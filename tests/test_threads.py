"""BLAS on one thread for as long as anything asks for it."""

import threading

from threadpoolctl import threadpool_info, threadpool_limits

from ngnmm_jax._core.threads import one_blas_thread


def apart(work):
    """What a function gives on a thread of its own, which owns no limits once it has ended."""
    result = []
    thread = threading.Thread(target=lambda: result.append(work()))
    thread.start()
    thread.join()
    return result[0]


def blas():
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def test_the_last_of_several_takes_the_limit_away():
    """Nested ones, and ones on two threads of which the first to begin ends first."""
    before = apart(lambda: threadpool_limits(2, "blas"))
    began, ended, finish = (threading.Event() for _ in range(3))

    def first():
        with one_blas_thread():
            began.set()
            ended.wait(10)

    def second():
        with one_blas_thread():
            ended.set()
            finish.wait(10)

    try:
        assert blas() == {2}
        with one_blas_thread(), one_blas_thread():
            assert blas() == {1}
        assert blas() == {2}
        threads = [threading.Thread(target=work) for work in (first, second)]
        threads[0].start()
        assert began.wait(10)
        threads[1].start()
        threads[0].join()
        assert blas() == {1}
        finish.set()
        threads[1].join()
        assert blas() == {2}
    finally:
        finish.set()
        apart(before.restore_original_limits)

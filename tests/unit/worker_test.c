/* A thread that is asked to stop does so, whoever waits for it is woken, and signals are left to other threads. */
#include "storage/worker.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum { LONG_MS = 60000 };

typedef struct {
    sk_worker worker;
    unsigned rounds, wanted;
    bool abandoned, blocked, keep_silent;
} bench;

static void *work(void *argument)
{
    bench *with = argument;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    pthread_mutex_lock(&with->worker.lock);
    with->blocked = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGHUP);
    while (!with->worker.stopping) {
        if (with->rounds == with->wanted || with->keep_silent) {
            sk_worker_wait(&with->worker, LONG_MS);
            continue;
        }
        with->rounds++;
        pthread_cond_broadcast(&with->worker.done);
    }
    with->abandoned = with->worker.abandon;
    pthread_mutex_unlock(&with->worker.lock);
    return NULL;
}

static void test_does_what_it_is_asked(void **state)
{
    (void)state;
    bench with = {0};
    sk_worker_init(&with.worker);
    for (unsigned life = 1; life <= 2; life++) { /* it can be started again */
        assert_int_equal(sk_worker_start(&with.worker, "sk-test", work, &with), 0);
        assert_true(with.worker.running);
        char name[16];
        assert_int_equal(pthread_getname_np(with.worker.thread, name, sizeof name), 0);
        assert_string_equal(name, "sk-test");
        pthread_mutex_lock(&with.worker.lock);
        with.wanted += 3;
        pthread_cond_signal(&with.worker.work);
        while (with.rounds < with.wanted) pthread_cond_wait(&with.worker.done, &with.worker.lock);
        pthread_mutex_unlock(&with.worker.lock);
        sk_worker_stop(&with.worker, life == 2);
        assert_false(with.worker.running);
        assert_int_equal(with.abandoned, life == 2);
        assert_true(with.blocked);
    }
    sk_worker_stop(&with.worker, false); /* nothing to stop */
    sk_worker_free(&with.worker);
}

static void *wait_for_end(void *argument)
{
    bench *with = argument;
    pthread_mutex_lock(&with->worker.lock);
    while (with->worker.running) pthread_cond_wait(&with->worker.done, &with->worker.lock);
    pthread_mutex_unlock(&with->worker.lock);
    return NULL;
}

static void test_its_end_wakes_who_waits(void **state)
{
    (void)state;
    bench with = {.keep_silent = true};
    pthread_t waiting;
    sk_worker_init(&with.worker);
    assert_int_equal(sk_worker_start(&with.worker, "sk-test", work, &with), 0);
    assert_int_equal(pthread_create(&waiting, NULL, wait_for_end, &with), 0);
    sk_worker_stop(&with.worker, false);
    assert_int_equal(pthread_join(waiting, NULL), 0);
    sk_worker_free(&with.worker);
}

static void test_a_wait_ends_by_itself(void **state)
{
    (void)state;
    sk_worker worker;
    sk_worker_init(&worker);
    pthread_mutex_lock(&worker.lock);
    uint64_t before = sk_worker_now_ms();
    do sk_worker_wait(&worker, 1001); /* nobody signals; the end of a second is crossed */
    while (sk_worker_now_ms() < before + 1001);
    pthread_mutex_unlock(&worker.lock);
    sk_worker_free(&worker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_does_what_it_is_asked),
        cmocka_unit_test(test_its_end_wakes_who_waits),
        cmocka_unit_test(test_a_wait_ends_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

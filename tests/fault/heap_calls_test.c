/* The n-th allocation of our own is refused by the system, for n = 1, 2, 3 … until there are fewer: the process stops, and says
 * so in one line. What it has on the disk then is what any process that was killed has; other tests are about that. */
#include "tests/unit/replica_harness.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t left; /* allocations until one is refused; 0: none is */

void *__wrap_calloc(size_t count, size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__real_realloc(void *old, size_t bytes);

static bool refused(void)
{
    return left > 0 && --left == 0;
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return refused() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return refused() ? NULL : __real_realloc(old, bytes);
}

static void work(void)
{
    static const char *const requests[] = {"SET a b", "INCR n", "HSET h f v", "SADD s a b c", "SINTERSTORE t s s", "SET e x PX 7",
                                           "KEYS *", "SCAN 0 COUNT 1", "SIBLINGS LIST", "POLICY SET a newest", "SESSION TOKEN"};
    region eu, us;
    regions_open(&eu, &us);
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) (void)ask(&eu, requests[i]);
    (void)ask(&us, "SET a c");
    regions_meet(&eu, &us);
    region_close(&eu);
    region_close(&us);
}

/* True if the process that works has come to its end. */
static bool works(uint64_t n, int said)
{
    int status;
    char text[512];
    assert_int_equal(ftruncate(said, 0), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        if (dup2(said, STDERR_FILENO) < 0 || lseek(STDERR_FILENO, 0, SEEK_SET) < 0) _exit(1);
        left = n;
        work();
        _exit(left ? 0 : 2); /* 2: it was refused something, and went on */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    ssize_t len = pread(said, text, sizeof text - 1, 0);
    assert_true(len >= 0);
    text[len] = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    bool one_line = strncmp(text, "out of memory: ", 15) == 0 && strchr(text, '\n') == text + len - 1;
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !one_line)
        fail_msg("allocation %llu: status %d, it said: %s", (unsigned long long)n, status, text);
    return false;
}

static void the_process_stops_with_one_line(void **state)
{
    (void)state;
    int said = memfd_create("said", MFD_CLOEXEC);
    assert_true(said >= 0);
    uint64_t n = 1;
    while (!works(n, said)) n++;
    close(said);
    print_message("%llu calls: the process stopped at each\n", (unsigned long long)n - 1);
    assert_true(n > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_process_stops_with_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Memory that is made before it is used: all of what was asked for, and nothing of what was forgotten. */
#include "storage/prefault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, MB = 1 << 20 };

static uint8_t *map(size_t bytes)
{
    uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    (void)madvise(memory, bytes, MADV_NOHUGEPAGE);
    return memory;
}

/* Pages that have been made. */
static size_t made_of(uint8_t *memory, size_t bytes)
{
    size_t made = 0, pages = bytes / PAGE;
    unsigned char *is_there = malloc(pages);
    assert_non_null(is_there);
    assert_int_equal(mincore(memory, bytes, is_there), 0);
    for (size_t i = 0; i < pages; i++) made += is_there[i] & 1;
    free(is_there);
    return made;
}

static void wait_until_made(uint8_t *memory, size_t bytes)
{
    for (int i = 0; made_of(memory, bytes) < bytes / PAGE; i++) {
        assert_true(i < 6000);
        usleep(10000);
    }
}

/* Whether this system does it at all. */
static bool can_populate(void)
{
#ifdef MADV_POPULATE_WRITE
    uint8_t *memory = map(PAGE);
    bool can = madvise(memory, PAGE, MADV_POPULATE_WRITE) == 0;
    munmap(memory, PAGE);
    return can;
#else
    return false;
#endif
}

static void what_is_asked_for_is_made(void **state)
{
    (void)state;
    enum { BYTES = 9 * MB, BEFORE = 3 * PAGE, AFTER = 5 * PAGE };
    if (!can_populate()) skip();
    sk_prefault prefault;
    sk_prefault_init(&prefault);
    uint8_t *memory = map(BYTES);
    memory[BEFORE] = 7;
    sk_prefault_ask(&prefault, memory + BEFORE, BYTES - BEFORE - AFTER);
    sk_prefault_ask(&prefault, memory, 100); /* no page of it is whole */
    wait_until_made(memory + BEFORE, BYTES - BEFORE - AFTER);
    assert_int_equal(made_of(memory, BEFORE), 0);
    assert_int_equal(made_of(memory + BYTES - AFTER, AFTER), 0);
    assert_int_equal(memory[BEFORE], 7);
    sk_prefault_free(&prefault);
    munmap(memory, BYTES);
}

static void what_is_forgotten_is_let_alone(void **state)
{
    (void)state;
    enum { BYTES = 256 * MB, OTHER = 4 * MB };
    if (!can_populate()) skip();
    sk_prefault prefault;
    sk_prefault_init(&prefault);
    uint8_t *memory = map(BYTES), *other = map(OTHER);
    sk_prefault_ask(&prefault, memory, BYTES);
    while (made_of(memory, BYTES) == 0) usleep(1000);
    sk_prefault_ask(&prefault, other, OTHER);
    sk_prefault_forget(&prefault, memory, BYTES);
    pthread_mutex_lock(&prefault.worker.lock);
    assert_false(prefault.now.bytes && prefault.now.from >= memory && prefault.now.from < memory + BYTES);
    pthread_mutex_unlock(&prefault.worker.lock);
    size_t made = made_of(memory, BYTES);
    assert_true(made < BYTES / PAGE);
    wait_until_made(other, OTHER); /* it goes on with what is left */
    assert_int_equal(made_of(memory, BYTES), made);
    sk_prefault_free(&prefault);
    munmap(memory, BYTES);
    munmap(other, OTHER);
}

/* Nobody waits for it, and it may end with much left to do. */
static void too_much_is_let_go(void **state)
{
    (void)state;
    enum { BYTES = 64 * MB, PIECES = 4 * SK_PREFAULT_ASKS };
    sk_prefault prefault;
    sk_prefault_init(&prefault);
    uint8_t *memory = map(BYTES);
    sk_prefault_forget(&prefault, memory, BYTES); /* of nothing */
    for (size_t i = 0; i < PIECES; i++) sk_prefault_ask(&prefault, memory + i * (BYTES / PIECES), BYTES / PIECES);
    pthread_mutex_lock(&prefault.worker.lock);
    assert_true(prefault.count <= SK_PREFAULT_ASKS);
    pthread_mutex_unlock(&prefault.worker.lock);
    sk_prefault_free(&prefault);
    munmap(memory, BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_asked_for_is_made),
        cmocka_unit_test(what_is_forgotten_is_let_alone),
        cmocka_unit_test(too_much_is_let_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

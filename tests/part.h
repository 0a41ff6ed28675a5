/* What repeats itself for long, the sweeps of fault/ and e2e/faults.py, the seeds of prop/ and of the store's random histories,
 * the models (model/run), can be run in parts: with SK_PART=K/N in the environment only the K-th of N, K from 0. Without it, all. tests/run does a sixth, another
 * one every day. */
#ifndef SK_TESTS_PART_H
#define SK_TESTS_PART_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    uint64_t k, of;
} test_part;

static inline test_part test_part_asked(void)
{
    test_part part = {0, 1};
    const char *text = getenv("SK_PART");
    unsigned k, of;
    char more;
    if (!text) return part;
    if (sscanf(text, "%u/%u%c", &k, &of, &more) != 2 || k >= of) {
        fprintf(stderr, "SK_PART is K/N with K < N, not %s\n", text);
        exit(2); /* a part that is not understood is not passed */
    }
    part.k = k;
    part.of = of;
    return part;
}

/** Of `count` seeds from 1 on those that are this part's: the first, and how many. */
static inline uint64_t test_part_seeds(uint64_t count, uint64_t *first)
{
    const test_part part = test_part_asked();
    uint64_t share = (count + part.of - 1) / part.of;
    *first = 1 + part.k * share;
    return share;
}

#endif

/* The simulator's only source of randomness: xoshiro256** (Blackman and Vigna), seeded through splitmix64.
 *
 * Nothing else may be random: no clock, no address, no order of a hash table. The same seed, the same run. */
#ifndef SK_TESTS_SIM_RANDOM_H
#define SK_TESTS_SIM_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t state[4];
} sim_random;

void sim_random_seed(sim_random *random, uint64_t seed);
/** A stream of its own for whatever a, b and c name: what one draws does not move what others get. */
void sim_random_derive(sim_random *random, uint64_t seed, uint64_t a, uint64_t b, uint64_t c);
uint64_t sim_random_next(sim_random *random);
/** From 0 up to, not including, `end`; 0 if `end` is 0. */
uint64_t sim_random_below(sim_random *random, uint64_t end);
/** From `low` to `high`, both included. */
uint64_t sim_random_between(sim_random *random, uint64_t low, uint64_t high);
/** True `permille` times in a thousand. */
bool sim_random_chance(sim_random *random, uint32_t permille);
/** About `mean` on the average, never 0: mostly from 1 to 3/2 of the mean, now and then several times as much. */
uint64_t sim_random_delay(sim_random *random, uint64_t mean);
/** An index below `count`, index i as often as weights[i] says. Not all weights are 0. */
uint32_t sim_random_weighted(sim_random *random, const uint32_t *weights, uint32_t count);
/** One of the listed numbers. */
#define sim_random_of(random, ...)                                                                                     \
    (((const uint64_t[]){__VA_ARGS__})[sim_random_below(random, sizeof((const uint64_t[]){__VA_ARGS__}) / 8)])

#endif

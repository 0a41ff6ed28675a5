#include "tests/sim/random.h"

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t rotate(uint64_t bits, int by) { return bits << by | bits >> (64 - by); }

void sim_random_seed(sim_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++) random->state[i] = splitmix(&seed);
}

void sim_random_derive(sim_random *random, uint64_t seed, uint64_t a, uint64_t b, uint64_t c)
{
    const uint64_t names[] = {a, b, c};
    uint64_t state = seed;
    for (int i = 0; i < 3; i++) {
        state = splitmix(&state) ^ names[i];
        state = splitmix(&state);
    }
    sim_random_seed(random, state);
}

uint64_t sim_random_next(sim_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9, shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t sim_random_below(sim_random *random, uint64_t end)
{
    return (uint64_t)((unsigned __int128)sim_random_next(random) * end >> 64);
}

uint64_t sim_random_between(sim_random *random, uint64_t low, uint64_t high)
{
    return low + sim_random_below(random, high - low + 1);
}

bool sim_random_chance(sim_random *random, uint32_t permille) { return sim_random_below(random, 1000) < permille; }

uint64_t sim_random_delay(sim_random *random, uint64_t mean)
{
    uint64_t usual = sim_random_between(random, 1, mean + mean / 2 + 1);
    return sim_random_chance(random, 50) ? usual * sim_random_between(random, 2, 8) : usual;
}

uint32_t sim_random_weighted(sim_random *random, const uint32_t *weights, uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) sum += weights[i];
    uint64_t at = sim_random_below(random, sum);
    for (uint32_t i = 0; i < count; i++) {
        if (at < weights[i]) return i;
        at -= weights[i];
    }
    return count - 1;
}

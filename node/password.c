#include "node/password.h"

#include <sodium.h>

_Static_assert(SK_PASSWORD_HASH_MAX >= crypto_pwhash_STRBYTES, "room for a hash");

static struct {
    bool keyed, filled;
    uint8_t key[crypto_generichash_KEYBYTES];
    uint8_t last[crypto_generichash_BYTES]; /* of hash and password that belong together */
} cache;

static void mark(const char *hash, sk_bytes password, uint8_t out[crypto_generichash_BYTES])
{
    crypto_generichash_state state;
    if (!cache.keyed) {
        randombytes_buf(cache.key, sizeof cache.key);
        cache.keyed = true;
    }
    crypto_generichash_init(&state, cache.key, sizeof cache.key, crypto_generichash_BYTES);
    crypto_generichash_update(&state, (const uint8_t *)hash, strlen(hash) + 1);
    crypto_generichash_update(&state, password.data, password.len);
    crypto_generichash_final(&state, out, crypto_generichash_BYTES);
    sodium_memzero(&state, sizeof state);
}

bool sk_password_known(const char *hash, sk_bytes password)
{
    uint8_t now[crypto_generichash_BYTES];
    mark(hash, password, now);
    return cache.filled && sodium_memcmp(now, cache.last, sizeof now) == 0;
}

bool sk_password_fits(const char *hash, sk_bytes password)
{
    return crypto_pwhash_str_verify(hash, password.len ? (const char *)password.data : "", password.len) == 0;
}

void sk_password_remember(const char *hash, sk_bytes password)
{
    mark(hash, password, cache.last);
    cache.filled = true;
}

bool sk_password_check(const char *hash, sk_bytes password)
{
    if (sk_password_known(hash, password)) return true;
    bool fits = sk_password_fits(hash, password);
    if (fits) sk_password_remember(hash, password);
    return fits;
}

bool sk_password_hash(sk_bytes password, char hash[SK_PASSWORD_HASH_MAX])
{
    return crypto_pwhash_str(hash, password.len ? (const char *)password.data : "", password.len,
                             crypto_pwhash_OPSLIMIT_INTERACTIVE, crypto_pwhash_MEMLIMIT_INTERACTIVE) == 0;
}

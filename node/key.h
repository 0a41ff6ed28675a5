/* The key pair by which a node proves which region it is, and the file that holds it.
 *
 *     # skerry node key: keep it secret. Its public key is 5b1c... (hex), W...= (base64)
 *     <44 characters of base64>
 *
 * Empty lines and lines that begin with # are skipped; the one other line is the secret key, 32 bytes in base64 or in
 * hex.
 *
 * Invariants:
 *  1. A file that others than its owner may read, write or run is refused: a key that was readable is no secret.
 *  2. A file is never overwritten, and what sk_key_create has answered is on disk.
 *  3. No error text holds anything of the file's content; no secret stays in memory beyond the pair. */
#ifndef SK_NODE_KEY_H
#define SK_NODE_KEY_H

#include "gossip/noise.h"

enum {
    SK_KEY_ERROR_MAX = 512, /* bytes of an error, NUL included */
    SK_KEY_HEX = 65,        /* characters of a key in hex, NUL included */
    SK_KEY_BASE64 = 45,     /* in base64 */
};

/** Reads a key file. SK_OK, or SK_E_CONFIG with a sentence in `error` and *pair untouched. Whoever holds the pair wipes
 *  it (sk_noise_keypair_wipe). */
int sk_key_load(const char *path, sk_noise_keypair *pair, char error[SK_KEY_ERROR_MAX]);

/** Draws a new pair and writes it to a file that does not exist yet, mode 0600. SK_OK, SK_E_CONFIG (there is a file of
 *  that name) or SK_E_IO, with a sentence in `error`. */
int sk_key_create(const char *path, sk_noise_keypair *pair, char error[SK_KEY_ERROR_MAX]);

/** How people write a key, with its NUL. */
void sk_key_hex(const uint8_t key[SK_NOISE_KEY], char text[SK_KEY_HEX]);
void sk_key_base64(const uint8_t key[SK_NOISE_KEY], char text[SK_KEY_BASE64]);

#endif

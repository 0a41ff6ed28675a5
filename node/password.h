/* Checking a client's password against its argon2id hash.
 *
 * The hash is slow on purpose, 50 ms and more and 64 MiB: the server has it done on another thread, one at a time
 * (node/server.h). And the last password that was right is remembered, as a BLAKE2b keyed with random bits that only
 * this process has: clients that connect again and again with it cost a microsecond. A wrong password costs the full
 * price, each time.
 *
 * Invariant: the password itself is not kept, and neither comparison tells by its time how much of a guess is right. */
#ifndef SK_NODE_PASSWORD_H
#define SK_NODE_PASSWORD_H

#include "crdt/bytes.h"

enum { SK_PASSWORD_HASH_MAX = 128 }; /* bytes of a hash string, NUL included */

/** Whether it is the last one that was right for `hash` (an argon2id string). From the event loop's thread only. */
bool sk_password_known(const char *hash, sk_bytes password);
/** Whether the password is the one of `hash`, at full price. From any thread. */
bool sk_password_fits(const char *hash, sk_bytes password);
/** It is the right one: for sk_password_known. From the event loop's thread only. */
void sk_password_remember(const char *hash, sk_bytes password);
/** All three in one, for who can wait. From the event loop's thread only. */
bool sk_password_check(const char *hash, sk_bytes password);

/** The argon2id string of a password (about 64 MiB and 50 ms to check). False when the memory for it cannot be had. */
bool sk_password_hash(sk_bytes password, char hash[SK_PASSWORD_HASH_MAX]);

#endif

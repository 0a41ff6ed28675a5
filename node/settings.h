/* CONFIG GET and SET: the fields of the configuration under their own names ("listen.port"), and under the names that
 * Redis clients ask for ("maxclients", "save"), which are aliases of ours or fixed answers.
 *
 * Setting a parameter to the value that it has is always accepted: tools do so blindly. */
#ifndef SK_NODE_SETTINGS_H
#define SK_NODE_SETTINGS_H

#include "node/config.h"
#include "node/resp.h"

/** Appends name and value, as bulks, of every parameter that the glob matches (ASCII case aside). Returns how many. */
int sk_settings_get(const sk_config *config, sk_bytes pattern, const sk_reply *reply);

/** Changes one. 0, or SK_E_CONFIG with a sentence in `error` and nothing changed. The caller looks at the configuration
 *  afterwards for what it keeps a copy of (the log level). */
int sk_settings_set(sk_config *config, sk_bytes name, sk_bytes value, sk_buf *error);

#endif

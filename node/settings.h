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

/** Changes all of `count` parameters or none; `pairs` has the name of each and behind it its value. 0, or SK_E_CONFIG with the
 *  place of the first that will not do in `failed` and a sentence in `error`, or none if there is no such parameter. The
 *  caller looks at the configuration afterwards for what it keeps a copy of (the log level). */
int sk_settings_set(sk_config *config, const sk_bytes *pairs, size_t count, size_t *failed, sk_buf *error);

#endif

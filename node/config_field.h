/* The table of configuration fields, and what a value of each kind looks like. For config.c and config_print.c only:
 * everybody else reads node/config.h. */
#ifndef SK_NODE_CONFIG_FIELD_H
#define SK_NODE_CONFIG_FIELD_H

#include "node/config.h"

typedef enum {
    SK_CONFIG_REGION,   /* char *: [a-z0-9-]{1,32} */
    SK_CONFIG_NAME,     /* char *: 1 to `max` bytes of readable UTF-8 */
    SK_CONFIG_PATH,     /* the same */
    SK_CONFIG_ADDRESS,  /* char *: an IPv4 or IPv6 address */
    SK_CONFIG_HASH,     /* char *: an argon2id string; a secret */
    SK_CONFIG_PORT,     /* uint16_t: 1 to 65535 */
    SK_CONFIG_COUNT,    /* uint64_t: min to max */
    SK_CONFIG_SIZE,     /* uint64_t: bytes, min to max */
    SK_CONFIG_DURATION, /* uint64_t: milliseconds, min to max; a bare number only if the name ends in _ms */
    SK_CONFIG_FLAG,     /* bool */
    SK_CONFIG_CHOICE,   /* an enum: the number of one of `choices` */
    SK_CONFIG_PEERS,    /* peers and peer_count */
} sk_config_kind;

typedef struct {
    const char *path;
    sk_config_kind kind;
    size_t at;                  /* offset in sk_config */
    bool required;              /* there is no default, and it must be given */
    bool live;                  /* CONFIG SET may change it */
    const char *initial;        /* the default, as it would be written; NULL: required, or not set */
    const char *sample;         /* what the example file has when there is no default */
    uint64_t min, max;          /* see kind */
    bool or_zero;               /* 0 will do, too: it has a meaning of its own */
    const char *const *choices; /* NULL at the end */
    const char *about;          /* for people; lines end with \n, the last one does not */
} sk_config_field;

enum { SK_CONFIG_FIELDS_MAX = 48, SK_CONFIG_WHY_MAX = 256 };

extern const sk_config_field sk_config_fields[];

/** The part of the path before its last dot ("listen"; empty at the top): its length. */
size_t sk_config_field_section(const sk_config_field *field);
/** The part of the path after it. */
const char *sk_config_field_key(const sk_config_field *field);
/** The name of its environment variable, into `name` (64 bytes are enough for every field). */
void sk_config_field_variable(const sk_config_field *field, char *name, size_t cap);

/** Reads a value of any kind but SK_CONFIG_PEERS and puts it in its place. False, with what is wrong in `why` and
 *  nothing changed, if it will not do. Empty text takes an optional field away. */
bool sk_config_field_store(const sk_config_field *field, const char *text, sk_config *config,
                           char why[SK_CONFIG_WHY_MAX]);
/** Appends the value (not of SK_CONFIG_PEERS) as sk_config_field_store reads it; nothing when it is not set. */
void sk_config_field_value(const sk_config_field *field, const sk_config *config, sk_buf *out);
/** What may be written: "1 to 65535", "true or false"; empty when there is nothing to say. */
void sk_config_field_range(const sk_config_field *field, sk_buf *out);
/** Whether an optional field has a value. */
bool sk_config_field_is_set(const sk_config_field *field, const sk_config *config);
void sk_config_field_free(const sk_config_field *field, sk_config *config);

/** [a-z0-9-]{1,32} */
bool sk_config_is_region(const char *text);

/** One member of a peer ("region", "address" or "public_key"), as sk_config_field_store; an address is added to those
 *  before it. False with an empty `why` when there is no such member. */
bool sk_config_peer_store(sk_config_peer *peer, const char *key, const char *text, char why[SK_CONFIG_WHY_MAX]);
/** {"region": "us", "address": "10.0.0.2:7201", "public_key": "…"}, which is YAML and JSON. */
void sk_config_peer_print(const sk_config_peer *peer, sk_buf *out);

/** What is wrong between fields that are each good: the field to blame, with `why`; or NULL. */
const sk_config_field *sk_config_conflict(const sk_config *config, char why[SK_CONFIG_WHY_MAX]);

/** Text that may be anything as it is shown in an error: short, one line, quoted unless it is one plain word. */
void sk_config_show(const char *text, char *shown, size_t cap);

#endif

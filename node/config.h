/* What a node is told when it starts: one YAML file, overridden field by field by the environment.
 *
 * Everything about a field stands in one row of the table in node/config_field.c: where it lies in sk_config, what may
 * be written, its default, whether CONFIG SET may change it, and the sentence that explains it. Parsing, environment
 * variables, --print-config, CONFIG GET and SET and deploy/skerry.example.yaml are all made from that table.
 *
 * A field is named by its path in the file, "listen.port"; its environment variable is SKERRY_LISTEN_PORT. SKERRY_PEERS
 * is the list of peers in YAML's flow form or as JSON. An empty variable takes an optional field away.
 *
 * Invariants:
 *  1. A load gives a whole, valid configuration, or an error and nothing else.
 *  2. An error is one line that says where (file and line, or the variable), which field, what is wrong with it and
 * what would be right. It never holds a secret.
 *  3. Nothing that is written in a file or a variable is ignored: unknown fields, unknown SKERRY_ variables and second
 *     values for one field are errors.
 *  4. A field that may change at run time owns no memory: a caller that wants to change several at once tries them on a
 *     plain copy of the struct and then assigns it back. */
#ifndef SK_NODE_CONFIG_H
#define SK_NODE_CONFIG_H

#include "crdt/memory.h"
#include "node/address.h"
#include "node/log.h"
#include "storage/store.h"

enum {
    SK_CONFIG_ERROR_MAX = 512,        /* bytes of an error, NUL included */
    SK_CONFIG_FILE_MAX = 1024 * 1024, /* bytes of a file */
    SK_CONFIG_REGION_MAX = 32,        /* characters of a region's name */
    SK_CONFIG_KEY_BYTES = 32,         /* of an X25519 public key */
    SK_CONFIG_PEERS_MAX = 63,         /* so 64 regions in all */
    SK_CONFIG_ADDRESSES_MAX = 8,      /* of one peer */
};

typedef struct {
    char region[SK_CONFIG_REGION_MAX + 1];
    sk_address addresses[SK_CONFIG_ADDRESSES_MAX]; /* tried in this order */
    size_t address_count;                          /* 0: it is awaited and never dialed */
    uint8_t public_key[SK_CONFIG_KEY_BYTES];
} sk_config_peer;

typedef enum { SK_JOIN_REFUSE, SK_JOIN_ACCEPT } sk_join_writes;

/* Members are named as the fields are. Every pointer is owned, and NULL when an optional field is not set. */
typedef struct {
    char *region;   /* [a-z0-9-]{1,32} */
    char *cluster;  /* 1 to 64 bytes */
    char *data_dir; /* a path */
    struct {
        char *address; /* an IPv4 or IPv6 address, as inet_pton reads it */
        uint16_t port;
        uint64_t max_clients;
        char *password_hash; /* for crypto_pwhash_str_verify; NULL: no password */
        bool allow_public_without_password;
        uint64_t output_buffer_max; /* bytes */
        uint64_t query_buffer_max;  /* bytes, at least bulk_max */
        uint64_t bulk_max;          /* bytes */
        uint64_t max_args;
        uint64_t idle_timeout; /* milliseconds; 0: none */
    } listen;
    struct {
        char *address;
        uint16_t port;
        char *key_file;
        uint64_t ring_max; /* bytes */
        uint64_t flush_ms;
        uint64_t heartbeat_ms;
        uint64_t transfer_window; /* bytes */
        uint64_t transfer_bytes_per_s; /* 0: no limit */
        uint64_t transfer_share;  /* percent */
        uint64_t send_window;     /* bytes, of each link */
        uint64_t compress_min;    /* bytes; 0: nothing is compressed */
        uint64_t bytes_per_s;     /* of each link; 0: no limit */
        uint64_t rekey_after;     /* milliseconds; 0: by the count of messages alone */
        uint64_t clock_alarm;     /* milliseconds; 0: none */
        uint64_t retention_bytes; /* 0: no cap */
        uint64_t retention_time;  /* milliseconds; 0: no cap */
    } replication;
    sk_config_peer *peers;
    size_t peer_count;
    struct {
        char *region; /* one of the peers; NULL: none */
        sk_join_writes writes;
    } join;
    struct {
        sk_durability durability;
        uint64_t interval_ms;
        uint64_t cache;        /* bytes */
        uint64_t row_cache;    /* bytes */
        uint64_t write_buffer; /* bytes */
        uint64_t min_free;     /* bytes */
        char *backup_dir;      /* NULL: no backups are made */
        uint64_t backup_bytes_per_s; /* 0: no limit */
    } storage;
    struct {
        sk_log_level level;
        sk_log_format format;
        char *file; /* NULL: stderr */
    } log;
    struct {
        uint64_t transaction_max; /* bytes */
    } limits;
} sk_config;

/** Reads the file `path` (NULL: none, the environment alone) and the variables of `env` ("NAME=value" strings, NULL at
 *  the end, as environ has them; NULL: none). Kubernetes puts variables of its own beside ours when a service is called
 *  skerry; those are known by their form and left alone.
 *  0, and *config is the caller's, for sk_config_free; or SK_E_CONFIG with a line in `error` and *config untouched. */
int sk_config_load(const char *path, char *const *env, sk_config *config, char error[SK_CONFIG_ERROR_MAX]);

/** The same from memory; `name` stands for the file in errors. */
int sk_config_parse(const char *name, sk_bytes text, char *const *env, sk_config *config,
                    char error[SK_CONFIG_ERROR_MAX]);

/** Everything back; the struct is as zeroed. */
void sk_config_free(sk_config *config);

/** The whole configuration as YAML that loads to the same, except that of the password hash it only says in a comment
 *  that there is one. */
void sk_config_print(const sk_config *config, sk_buf *out);

/** A file with every field, its meaning, range, default and variable: deploy/skerry.example.yaml. */
void sk_config_example(sk_buf *out);

/* -- CONFIG GET and SET ------------------------------------------------------------------------------------------- */

/** How many fields there are, and the name of one of them ("listen.port"; static), in the file's order. */
size_t sk_config_count(void);
const char *sk_config_name(size_t index);
/** Whether sk_config_set may change it. */
bool sk_config_is_live(size_t index);

/** Appends the value as it would be written in the file, without quotes; nothing for an optional field that is not set,
 *  "(set)" for a secret that is. False when no field has that name. */
bool sk_config_get(const sk_config *config, const char *name, sk_buf *value);

/** Changes a field of a running node. False with a line in `error` and nothing changed when there is no such field, it
 *  cannot be changed at run time, or the value will not do. Whoever took a copy of the value must be told by the
 *  caller. */
bool sk_config_set(sk_config *config, const char *name, const char *value, char error[SK_CONFIG_ERROR_MAX]);

#endif

#include "node/settings.h"

#include "crdt/number.h"
#include "node/glob.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

typedef enum { FIXED, TEXT, BYTES, SECONDS, LEVEL, SYNC } alias_kind;

/* What Redis calls it. FIXED has one value; the others are a field of ours in Redis' units and words. */
typedef struct {
    const char *name, *field;
    alias_kind kind;
} alias;

static const alias aliases[] = {
    {"appendfsync", "storage.durability", SYNC},
    {"appendonly", "yes", FIXED},
    {"bind", "listen.address", TEXT},
    {"client-query-buffer-limit", "listen.query_buffer_max", BYTES},
    {"cluster-enabled", "no", FIXED},
    {"databases", "1", FIXED},
    {"dir", "data_dir", TEXT},
    {"logfile", "log.file", TEXT},
    {"loglevel", "log.level", LEVEL},
    {"maxclients", "listen.max_clients", TEXT},
    {"maxmemory", "0", FIXED},
    {"maxmemory-policy", "noeviction", FIXED},
    {"notify-keyspace-events", "", FIXED},
    {"port", "listen.port", TEXT},
    {"proto-max-bulk-len", "listen.bulk_max", BYTES},
    {"requirepass", "listen.password_hash", TEXT},
    {"save", "", FIXED},
    {"tcp-keepalive", "300", FIXED},
    {"timeout", "listen.idle_timeout", SECONDS},
};

enum { ALIASES = sizeof aliases / sizeof *aliases };

static const char *const redis_levels[] = {"debug", "notice", "warning", "warning"};

static void alias_value(const sk_config *config, const alias *of, sk_buf *out)
{
    static const char *const syncs[] = {"always", "everysec", "no"};
    switch (of->kind) {
    case FIXED: sk_buf_bytes(out, sk_bytes_str(of->field)); break;
    case TEXT: sk_config_get(config, of->field, out); break;
    case BYTES:
        sk_buf_printf(out, "%" PRIu64,
                      strcmp(of->field, "listen.bulk_max") == 0 ? config->listen.bulk_max
                                                                : config->listen.query_buffer_max);
        break;
    case SECONDS: /* upwards: 0 is without an end */
        sk_buf_printf(out, "%" PRIu64, (config->listen.idle_timeout + 999) / 1000);
        break;
    case LEVEL: sk_buf_bytes(out, sk_bytes_str(redis_levels[config->log.level])); break;
    case SYNC: sk_buf_bytes(out, sk_bytes_str(syncs[config->storage.durability])); break;
    }
}

/* The current value of the parameter; false if there is none of that name. `of` gets its alias, or NULL. */
static bool find(const sk_config *config, sk_bytes name, const alias **of, const char **field, sk_buf *value)
{
    for (size_t i = 0; i < ALIASES; i++) {
        if (name.len != strlen(aliases[i].name) || strncasecmp((const char *)name.data, aliases[i].name, name.len) != 0)
            continue;
        *of = &aliases[i];
        *field = aliases[i].kind == FIXED ? NULL : aliases[i].field;
        alias_value(config, *of, value);
        return true;
    }
    *of = NULL;
    for (size_t i = 0; i < sk_config_count(); i++) {
        *field = sk_config_name(i);
        if (name.len == strlen(*field) && strncasecmp((const char *)name.data, *field, name.len) == 0)
            return sk_config_get(config, *field, value);
    }
    return false;
}

int sk_settings_get(const sk_config *config, sk_bytes pattern, const sk_reply *reply)
{
    sk_buf value = {0};
    int count = 0;
    for (size_t i = 0; i < ALIASES + sk_config_count(); i++) {
        const char *name = i < ALIASES ? aliases[i].name : sk_config_name(i - ALIASES);
        if (!sk_glob_match_nocase(pattern, sk_bytes_str(name))) continue;
        sk_buf_reset(&value);
        if (i < ALIASES)
            alias_value(config, &aliases[i], &value);
        else
            sk_config_get(config, name, &value);
        sk_reply_bulk_str(reply, name);
        sk_reply_bulk(reply, sk_buf_view(&value));
        count++;
    }
    sk_buf_free(&value);
    return count;
}

/* A value in Redis' units and words, in ours. False if it is none. */
static bool translate(const alias *of, const char *value, char *ours, size_t cap)
{
    static const char *const levels[][2] = {
        {"debug", "debug"}, {"verbose", "debug"}, {"notice", "info"}, {"warning", "warn"}};
    int64_t seconds;
    if (!of || of->kind == TEXT || of->kind == BYTES) {
        return snprintf(ours, cap, "%s", value) < (int)cap;
    }
    if (of->kind == SECONDS) {
        if (!sk_parse_int64(sk_bytes_str(value), &seconds) || seconds < 0 || seconds > INT64_MAX / 1000) return false;
        snprintf(ours, cap, "%" PRId64 "ms", seconds * 1000);
        return true;
    }
    for (size_t i = 0; of->kind == LEVEL && i < sizeof levels / sizeof *levels; i++) {
        if (strcasecmp(value, levels[i][0]) != 0) continue;
        snprintf(ours, cap, "%s", levels[i][1]);
        return true;
    }
    return false;
}

static int set_one(sk_config *config, sk_bytes name, sk_bytes value, sk_buf *error)
{
    enum { LONGEST = 4096 };
    sk_buf now = {0};
    const alias *of;
    const char *field;
    char text[LONGEST + 1], ours[LONGEST + 1], why[SK_CONFIG_ERROR_MAX];
    int status = SK_E_CONFIG;
    if (!find(config, name, &of, &field, &now)) {
        sk_buf_free(&now);
        return SK_E_CONFIG;
    }
    if (sk_bytes_equal(sk_buf_view(&now), value)) {
        status = 0;
    } else if (!field) {
        sk_buf_printf(error, "skerry has only one value for it");
    } else if (value.len > LONGEST || (value.len && memchr(value.data, 0, value.len))) {
        sk_buf_printf(error, "the value is too long or holds a NUL");
    } else {
        if (value.len) memcpy(text, value.data, value.len);
        text[value.len] = 0;
        if (!translate(of, text, ours, sizeof ours))
            sk_buf_printf(error, "that is not a value for it");
        else if (!sk_config_set(config, field, ours, why))
            sk_buf_printf(error, "%s", why);
        else
            status = 0;
    }
    sk_buf_free(&now);
    return status;
}

int sk_settings_set(sk_config *config, const sk_bytes *pairs, size_t count, size_t *failed, sk_buf *error)
{
    sk_config changed = *config; /* what can be set owns no memory: see sk_config_set */
    for (size_t i = 0; i < count; i++) {
        int status = set_one(&changed, pairs[2 * i], pairs[2 * i + 1], error);
        if (!status) continue;
        *failed = i;
        return status;
    }
    *config = changed;
    return 0;
}

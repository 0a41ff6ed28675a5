#include "node/config_field.h"

#include "gossip/engine.h"
#include "node/utf8.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define KB 1024ull
#define MB (1024 * KB)
#define GB (1024 * MB)
#define MINUTE 60000ull /* milliseconds */
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

#define AT(member) .at = offsetof(sk_config, member)

static const char *const durabilities[] = {"always", "interval", "os", NULL};
static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const join_writes[] = {"refuse", "accept", NULL};
static const char *const formats[] = {"text", "json", NULL};

/* A choice's number is its place in the list. */
_Static_assert(SK_DURABILITY_ALWAYS == 0 && SK_DURABILITY_INTERVAL == 1 && SK_DURABILITY_OS == 2, "durabilities");
_Static_assert(SK_LOG_DEBUG == 0 && SK_LOG_INFO == 1 && SK_LOG_WARN == 2 && SK_LOG_ERROR == 3, "levels");
_Static_assert(SK_LOG_AS_TEXT == 0 && SK_LOG_AS_JSON == 1, "formats");
_Static_assert(SK_JOIN_REFUSE == 0 && SK_JOIN_ACCEPT == 1 && sizeof(sk_join_writes) == sizeof(int), "join_writes");
_Static_assert(sizeof(sk_durability) == sizeof(int) && sizeof(sk_log_level) == sizeof(int) &&
                   sizeof(sk_log_format) == sizeof(int),
               "a choice is stored as an int");

/* Fields of one section stand together; those of no section come first. */
const sk_config_field sk_config_fields[] = {
    {"region", SK_CONFIG_REGION, AT(region), .required = true, .sample = "eu",
     .about = "The name of this node's region; every region of a cluster has its own. It is written into the data\n"
              "directory, which then belongs to it."},
    {"cluster", SK_CONFIG_NAME, AT(cluster), .required = true, .max = 64, .sample = "example",
     .about = "The name of the cluster, the same in every region. Nodes of different clusters do not talk."},
    {"data_dir", SK_CONFIG_PATH, AT(data_dir), .required = true, .max = 4000, .sample = "/var/lib/skerry",
     .about = "The folder for everything that is stored. It is made if it is missing."},
    {"peers", SK_CONFIG_PEERS, AT(peers),
     .about =
         "The other regions: their names, where they listen for replication, and their public keys (32 bytes in hex\n"
         "or base64, as skerryctl keygen prints them). A node talks to nobody else. An address is host:port, or\n"
         "[IPv6]:port; a name is looked up anew each time. Of several, 8 at the most, they are tried in turn. A region that\n"
         "cannot be reached from here (behind NAT) has no address: it calls, and both directions use that connection."},

    {"join.region", SK_CONFIG_REGION, AT(join.region), .sample = "eu",
     .about =
         "A new node, one with an empty data_dir, first gets everything from this region, the nearest of its peers (it must\n"
         "be one of them), and answers clients -LOADING until it has. The others need not know the node before (skerryctl\n"
         "region add), and it learns of them by itself: peers may hold this one alone. Without effect once the node is\n"
         "complete. Where it is not set, an empty node begins by itself, and one that is not complete goes on with what it\n"
         "has."},
    {"join.writes", SK_CONFIG_CHOICE, AT(join.writes), .initial = "refuse", .choices = join_writes,
     .about = "Whether a new node takes writes while it is not complete (accept), or refuses them as it does reads."},

    {"listen.address", SK_CONFIG_ADDRESS, AT(listen.address), .initial = "127.0.0.1",
     .about = "The address on which clients are served. One that other machines can reach needs a password_hash."},
    {"listen.port", SK_CONFIG_PORT, AT(listen.port), .initial = "7101", .min = 1, .max = 65535,
     .about = "The TCP port for clients."},
    {"listen.password_hash", SK_CONFIG_HASH, AT(listen.password_hash), .sample = "$argon2id$v=19$m=65536,t=2,p=1$...",
     .about =
         "What clients must prove with AUTH that they know, as the argon2id string of the password. No password is\n"
         "asked for when it is not set."},
    {"listen.allow_public_without_password", SK_CONFIG_FLAG, AT(listen.allow_public_without_password),
     .initial = "false",
     .about = "Serve anybody who can reach the address. Only for networks that are closed by other means."},
    {"listen.max_clients", SK_CONFIG_COUNT, AT(listen.max_clients), .live = true, .initial = "10000", .min = 1,
     .max = 1000000, .about = "Connections of clients at one time; further ones are refused."},
    {"listen.idle_timeout", SK_CONFIG_DURATION, AT(listen.idle_timeout), .live = true, .initial = "0",
     .max = 60 * 24 * 30 * MINUTE,
     .about = "Clients that send nothing for so long, and wait for no reply, are disconnected; 0: never."},
    {"listen.output_buffer_max", SK_CONFIG_SIZE, AT(listen.output_buffer_max), .live = true, .initial = "64mb",
     .min = 64 * KB, .max = 16 * GB,
     .about = "The largest reply: a larger one disconnects the client. One that leaves half as much unread is not read from."},
    {"listen.query_buffer_max", SK_CONFIG_SIZE, AT(listen.query_buffer_max), .initial = "64mb", .min = 64 * KB,
     .max = 4 * GB, .about = "Bytes of one command with all its arguments. At least bulk_max."},
    {"listen.bulk_max", SK_CONFIG_SIZE, AT(listen.bulk_max), .initial = "32mb", .min = KB, .max = 512 * MB,
     .about = "Bytes of one argument: a key, a value, a member."},
    {"listen.max_args", SK_CONFIG_COUNT, AT(listen.max_args), .initial = "1048576", .min = 16, .max = 16 * MB,
     .about = "Arguments of one command."},

    {"replication.address", SK_CONFIG_ADDRESS, AT(replication.address), .initial = "127.0.0.1",
     .about =
         "The address on which the other regions are awaited; \"::\" is every address, IPv4 and IPv6. Links are\n"
         "encrypted and both ends prove their keys."},
    {"replication.port", SK_CONFIG_PORT, AT(replication.port), .initial = "7201", .min = 1, .max = 65535,
     .about = "The TCP port for the other regions."},
    {"replication.key_file", SK_CONFIG_PATH, AT(replication.key_file), .required = true, .max = 4000,
     .sample = "/etc/skerry/node.key",
     .about = "The file with this node's private key, made by skerryctl keygen. Nobody else may be able to read it."},
    {"replication.ring_max", SK_CONFIG_SIZE, AT(replication.ring_max), .initial = "64mb", .min = MB, .max = 64 * GB,
     .about = "Memory for recent transactions that some peer lacks. One that falls further behind catches up from disk instead."},
    {"replication.flush_ms", SK_CONFIG_DURATION, AT(replication.flush_ms), .initial = "2", .max = 1000,
     .about = "How long a transaction may wait for others to share a message with; 0: not at all."},
    {"replication.heartbeat_ms", SK_CONFIG_DURATION, AT(replication.heartbeat_ms), .initial = "500", .min = 50,
     .max = MINUTE, .about = "How often an otherwise quiet link is used to say what is known and that all is well."},
    {"replication.transfer_window", SK_CONFIG_SIZE, AT(replication.transfer_window), .initial = "4mb", .min = 64 * KB,
     .max = GB, .about = "Bytes of a catch-up transfer that may be under way before the receiver has confirmed them."},
    {"replication.transfer_bytes_per_s", SK_CONFIG_SIZE, AT(replication.transfer_bytes_per_s), .live = true,
     .initial = "0", .max = 16 * GB,
     .about = "Bytes of rows that a catch-up or a reconcile sends to one peer in a second, so that clients keep disk and\n"
              "link; 0: as fast as they can be read."},
    {"replication.transfer_share", SK_CONFIG_COUNT, AT(replication.transfer_share), .live = true, .initial = "100",
     .min = 1, .max = 100,
     .about = "Percent of the time that a catch-up or a reconcile may take up disk and processor here: reading rows for a\n"
              "peer, comparing them, or putting into place what has come. After each step it rests for so long as that takes."},
    {"replication.compress_min", SK_CONFIG_SIZE, AT(replication.compress_min), .live = true, .initial = "128b",
     .max = MB,
     .about =
         "Messages of at least so many bytes are compressed (zstd) for peers that want it; 0: none, and none are wanted.\n"
         "What does not get smaller is sent as it is. An onlooker sees sizes: with compression they tell a little of what\n"
         "values have in common."},
    {"replication.bytes_per_s", SK_CONFIG_SIZE, AT(replication.bytes_per_s), .live = true, .initial = "0", .or_zero = true,
     .min = 16 * KB, .max = 16 * GB,
     .about = "Bytes that may be sent in a second to each of the other regions; 0: as many as go. The least leaves a link\n"
              "room for its heartbeats."},
    {"replication.send_window", SK_CONFIG_SIZE, AT(replication.send_window), .live = true, .initial = "4mb",
     .min = 64 * KB, .max = GB,
     .about =
         "Bytes that may wait to be sent to each of the other regions. It is filled no further than with about a second's\n"
         "worth of what the link carries, so that a heartbeat is not long behind the rest; more than bandwidth times round\n"
         "trip gains nothing. What does not fit stays in memory once for all (ring_max) or on the disk."},
    {"replication.rekey_after", SK_CONFIG_DURATION, AT(replication.rekey_after), .live = true, .initial = "15m",
     .max = 24 * 60 * MINUTE,
     .about =
         "How long what is sent over a link is encrypted with one key; 0: for 65536 messages, however long that is, which\n"
         "is the bound in any case. Who learns a key can read nothing that was sent under those before it."},
    {"replication.clock_alarm", SK_CONFIG_DURATION, AT(replication.clock_alarm), .live = true, .initial = "5s",
     .max = 24 * 60 * MINUTE,
     .about = "Log a warning when another region's wall clock differs from ours by more than this; 0: never."},
    {"replication.retention_bytes", SK_CONFIG_SIZE, AT(replication.retention_bytes), .live = true, .initial = "1gb",
     .max = 1024 * GB,
     .about =
         "Bytes of history (which rows have changed, and what was removed) kept for regions that lack it, before\n"
         "compression; 0: without limit. A region that lacks more is not waited for any more; when it returns it is\n"
         "compared with (reconciled), which costs more than catching up and loses nothing."},
    {"replication.retention_time", SK_CONFIG_DURATION, AT(replication.retention_time), .live = true, .initial = "7d",
     .max = 3650 * DAY, .about = "How long history is kept for regions that lack it; 0: without limit."},

    {"storage.durability", SK_CONFIG_CHOICE, AT(storage.durability), .initial = "always", .choices = durabilities,
     .about =
         "When a write is acknowledged: once it is on disk (always), or once the operating system has it, which\n"
         "is synced at every interval (interval) or when the system likes (os). With the latter two a crash of the\n"
         "machine, not of the process, can lose what was acknowledged last."},
    {"storage.interval_ms", SK_CONFIG_DURATION, AT(storage.interval_ms), .initial = "1000", .min = 10, .max = MINUTE,
     .about = "How often is synced when durability is interval."},
    {"storage.cache", SK_CONFIG_SIZE, AT(storage.cache), .initial = "128mb", .min = MB, .max = 1024 * GB,
     .about =
         "Memory for blocks of files read from disk, their indexes and filters, which take 2mb for a million rows of 100 bytes\n"
         "and belong into memory. The memory of a node is the sum of cache, row_cache, write_buffer, replication.ring_max, for\n"
         "each peer replication.transfer_window, send_window and 1mb, 64mb if there is a password, 64mb for the process\n"
         "itself, and the buffers of its clients; INFO memory shows it (memory_max_configured)."},
    {"storage.row_cache", SK_CONFIG_SIZE, AT(storage.row_cache), .initial = "320mb", .min = MB, .max = 1024 * GB,
     .about = "Memory for single rows that were read or written lately. A row found here costs a tenth of one in a block."},
    {"storage.write_buffer", SK_CONFIG_SIZE, AT(storage.write_buffer), .initial = "256mb", .min = MB, .max = 4 * GB,
     .about =
         "Memory for writes on their way to files. A third of it is gathered and sorted at a time: more of it\n"
         "makes larger files and less work. Writes wait when it is full."},
    {"storage.min_free", SK_CONFIG_SIZE, AT(storage.min_free), .initial = "64mb", .max = 1024 * GB,
     .about =
         "Commands that need room are refused while the disk has less space than this; reads and removals go on, and what\n"
         "other regions write still comes in. A backup leaves as much free."},
    {"storage.backup_dir", SK_CONFIG_PATH, AT(storage.backup_dir), .max = 4000, .sample = "/var/backups/skerry",
     .about =
         "The folder, by its whole path, in which BACKUP CREATE (skerryctl backup) may make backups, itself or folders\n"
         "below it. No backups are made when it is not set."},
    {"storage.backup_bytes_per_s", SK_CONFIG_SIZE, AT(storage.backup_bytes_per_s), .live = true, .initial = "0",
     .max = 16 * GB, .about = "Bytes that a backup copies in a second, so that clients keep the disk; 0: as fast as it goes."},

    {"log.level", SK_CONFIG_CHOICE, AT(log.level), .live = true, .initial = "info", .choices = levels,
     .about = "The least important events that are logged."},
    {"log.format", SK_CONFIG_CHOICE, AT(log.format), .initial = "text", .choices = formats,
     .about = "Lines for people (text) or a JSON object a line (json)."},
    {"log.file", SK_CONFIG_PATH, AT(log.file), .max = 4000, .sample = "/var/log/skerry/skerryd.log",
     .about = "The file to append to, opened again on SIGHUP. When it is not set, events go to standard error."},

    {"limits.transaction_max", SK_CONFIG_SIZE, AT(limits.transaction_max), .initial = "64mb", .min = 64 * KB,
     .max = SK_TRANSACTION_MAX, .about = "Bytes that one transaction (a command, or MULTI to EXEC) may write."},
};

_Static_assert(sizeof sk_config_fields / sizeof *sk_config_fields <= SK_CONFIG_FIELDS_MAX, "room for every field");

size_t sk_config_count(void) { return sizeof sk_config_fields / sizeof *sk_config_fields; }

const char *sk_config_name(size_t index)
{
    sk_assert(index < sk_config_count());
    return sk_config_fields[index].path;
}

bool sk_config_is_live(size_t index)
{
    sk_assert(index < sk_config_count());
    return sk_config_fields[index].live;
}

/* -- names -------------------------------------------------------------------------------------------------------- */

size_t sk_config_field_section(const sk_config_field *field)
{
    const char *dot = strrchr(field->path, '.');
    return dot ? (size_t)(dot - field->path) : 0;
}

const char *sk_config_field_key(const sk_config_field *field)
{
    const char *dot = strrchr(field->path, '.');
    return dot ? dot + 1 : field->path;
}

void sk_config_field_variable(const sk_config_field *field, char *name, size_t cap)
{
    int len = snprintf(name, cap, "SKERRY_%s", field->path);
    sk_assert(len > 0 && (size_t)len < cap);
    for (char *at = name; *at; at++) {
        if (*at == '.') *at = '_';
        if (*at >= 'a' && *at <= 'z') *at = (char)(*at - 'a' + 'A');
    }
}

void sk_config_show(const char *text, char *shown, size_t cap)
{
    enum { LONGEST = 60 };
    sk_assert(cap >= 4 * LONGEST + 8);
    size_t len = strlen(text), size = 0;
    bool bare = len > 0 && len <= LONGEST;
    for (size_t i = 0; i < len && bare; i++) bare = text[i] > ' ' && text[i] < 0x7f && text[i] != '"';
    if (bare) {
        memcpy(shown, text, len + 1);
        return;
    }
    shown[size++] = '"';
    size_t at = 0;
    while (at < len && at < LONGEST) {
        uint32_t character = 0;
        size_t step = sk_utf8_next((const uint8_t *)text + at, len - at, &character);
        if (step == 0 || sk_utf8_is_control(character)) {
            step = step ? step : 1;
            for (size_t i = 0; i < step; i++) size += (size_t)sprintf(shown + size, "\\x%02x", (uint8_t)text[at + i]);
        } else {
            memcpy(shown + size, text + at, step);
            size += step;
        }
        at += step;
    }
    strcpy(shown + size, at < len ? "...\"" : "\"");
}

/* -- reading a value ---------------------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static bool wrong(char why[SK_CONFIG_WHY_MAX], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, SK_CONFIG_WHY_MAX, format, args);
    va_end(args);
    return false;
}

/* `text` and then what is wrong with it. */
static bool wrong_value(char why[SK_CONFIG_WHY_MAX], const char *text, const char *what)
{
    char shown[256];
    sk_config_show(text, shown, sizeof shown);
    return wrong(why, "%s %s", shown, what);
}

/* Digits, and nothing else before `*end`; false beyond 2^64. */
static bool read_digits(const char *text, uint64_t *value, const char **end)
{
    uint64_t sum = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (sum > (UINT64_MAX - digit) / 10) return false;
        sum = sum * 10 + digit;
    }
    *value = sum;
    *end = at;
    return at != text;
}

typedef struct {
    const char *name;
    uint64_t factor;
} unit;

static const unit size_units[] = {{"gb", GB}, {"mb", MB}, {"kb", KB}, {"b", 1}, {NULL, 0}};
static const unit duration_units[] = {{"d", DAY}, {"h", HOUR}, {"m", MINUTE}, {"s", 1000}, {"ms", 1}, {NULL, 0}};

static bool is_in_ms(const sk_config_field *field)
{
    size_t len = strlen(field->path);
    return len > 3 && strcmp(field->path + len - 3, "_ms") == 0;
}

/* A number with one of the units, or a bare one where that has one meaning. */
static bool read_measure(const sk_config_field *field, const char *text, uint64_t *value)
{
    const char *end;
    uint64_t number;
    if (!read_digits(text, &number, &end)) return false;
    bool bare = field->kind != SK_CONFIG_DURATION || is_in_ms(field) || number == 0;
    uint64_t factor = *end == 0 && bare ? 1 : 0;
    for (const unit *u = field->kind == SK_CONFIG_SIZE ? size_units : duration_units; u->name; u++) {
        if (field->kind != SK_CONFIG_COUNT && strcasecmp(end, u->name) == 0) factor = u->factor;
    }
    if (factor == 0 || number > UINT64_MAX / factor) return false;
    *value = number * factor;
    return true;
}

static bool store_number(const sk_config_field *field, const char *text, void *place, char why[SK_CONFIG_WHY_MAX])
{
    uint64_t value = 0;
    bool good = read_measure(field, text, &value);
    if (!good && field->kind == SK_CONFIG_SIZE) {
        return wrong_value(why, text, "is not a size (such as 64mb; the units are b, kb, mb and gb)");
    }
    if (!good && field->kind == SK_CONFIG_DURATION) {
        return wrong_value(why, text, "is not a duration (such as 500ms; the units are ms, s, m, h and d)");
    }
    if (!good) return wrong_value(why, text, "is not a number");
    bool fits = value >= field->min && value <= field->max;
    if (!fits && !(field->or_zero && value == 0)) {
        char shown[256];
        sk_buf range = {0};
        sk_config_show(text, shown, sizeof shown);
        sk_config_field_range(field, &range);
        wrong(why, "%s is out of range (%.*s)", shown, (int)range.len, (const char *)range.data);
        sk_buf_free(&range);
        return false;
    }
    *(uint64_t *)place = value;
    return true;
}

static bool read_port(const char *text, uint16_t *port)
{
    const char *end;
    uint64_t number;
    if (!read_digits(text, &number, &end) || *end || number < 1 || number > 65535) return false;
    *port = (uint16_t)number;
    return true;
}

bool sk_config_is_region(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len > 0 && len <= SK_CONFIG_REGION_MAX && text[len] == 0;
}

/* UTF-8 that stays as it is on its way through a terminal and through YAML, which reads some characters beyond ASCII
 * as the ends of lines and has no place for others. */
static bool is_readable(const char *text)
{
    for (size_t i = 0, len = strlen(text); i < len;) {
        uint32_t character;
        size_t size = sk_utf8_next((const uint8_t *)text + i, len - i, &character);
        if (size == 0 || sk_utf8_is_control(character) || character == 0x2028 || character == 0x2029 ||
            character == 0xfeff || character == 0xfffe || character == 0xffff) {
            return false;
        }
        i += size;
    }
    return true;
}

static bool is_address(const char *text)
{
    struct in6_addr any;
    return inet_pton(AF_INET, text, &any) == 1 || inet_pton(AF_INET6, text, &any) == 1;
}

static bool is_hash(const char *text)
{
    return strlen(text) < crypto_pwhash_STRBYTES && strncmp(text, crypto_pwhash_STRPREFIX, 10) == 0 &&
           crypto_pwhash_str_needs_rehash(text, crypto_pwhash_OPSLIMIT_INTERACTIVE,
                                          crypto_pwhash_MEMLIMIT_INTERACTIVE) >= 0;
}

static bool check_text(const sk_config_field *field, const char *text, char why[SK_CONFIG_WHY_MAX])
{
    switch (field->kind) {
    case SK_CONFIG_REGION:
        return sk_config_is_region(text) ||
               wrong_value(why, text, "is not a region's name (1 to 32 of a to z, 0 to 9 and -)");
    case SK_CONFIG_ADDRESS: return is_address(text) || wrong_value(why, text, "is not an IPv4 or IPv6 address");
    case SK_CONFIG_HASH: /* whatever it is, it may be a password that somebody put in the wrong place */
        return is_hash(text) || wrong(why, "the value (not shown) is not an argon2id hash ($argon2id$v=19$...)");
    default: break;
    }
    if (*text == 0) return wrong(why, "the value is empty");
    if (strlen(text) > field->max) return wrong(why, "the value is longer than %d bytes", (int)field->max);
    return is_readable(text) || wrong_value(why, text, "holds control characters or is not UTF-8");
}

static bool is_text(const sk_config_field *field) { return field->kind <= SK_CONFIG_HASH; }

static bool store_text(const sk_config_field *field, const char *text, char **place, char why[SK_CONFIG_WHY_MAX])
{
    char *copy = NULL;
    bool take_away = *text == 0 && !field->required && !field->initial;
    if (!take_away) {
        if (!check_text(field, text, why)) return false;
        copy = sk_alloc(strlen(text) + 1);
        strcpy(copy, text);
    }
    free(*place);
    *place = copy;
    return true;
}

static bool store_choice(const sk_config_field *field, const char *text, int *place, char why[SK_CONFIG_WHY_MAX])
{
    for (int i = 0; field->choices[i]; i++) {
        if (strcmp(field->choices[i], text) != 0) continue;
        *place = i;
        return true;
    }
    char shown[256];
    sk_buf range = {0};
    sk_config_show(text, shown, sizeof shown);
    sk_config_field_range(field, &range);
    wrong(why, "%s is not one of %.*s", shown, (int)range.len, (const char *)range.data);
    sk_buf_free(&range);
    return false;
}

bool sk_config_field_store(const sk_config_field *field, const char *text, sk_config *config,
                           char why[SK_CONFIG_WHY_MAX])
{
    void *place = (char *)config + field->at;
    if (is_text(field)) return store_text(field, text, place, why);
    switch (field->kind) {
    case SK_CONFIG_PORT: return read_port(text, place) || wrong_value(why, text, "is not a port (1 to 65535)");
    case SK_CONFIG_FLAG:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
            return wrong_value(why, text, "is neither true nor false");
        }
        *(bool *)place = *text == 't';
        return true;
    case SK_CONFIG_CHOICE: return store_choice(field, text, place, why);
    default: sk_assert(field->kind != SK_CONFIG_PEERS); return store_number(field, text, place, why);
    }
}

/* -- writing a value ---------------------------------------------------------------------------------------------- */

/* In the largest unit that leaves a whole number. */
static void put_measure(const sk_config_field *field, uint64_t value, sk_buf *out)
{
    const unit *u = field->kind == SK_CONFIG_SIZE ? size_units : duration_units;
    bool has_unit = field->kind == SK_CONFIG_SIZE || (field->kind == SK_CONFIG_DURATION && !is_in_ms(field));
    bool bare = !has_unit || value == 0;
    while (!bare && value % u->factor != 0) u++;
    sk_buf_printf(out, "%llu%s", (unsigned long long)(bare ? value : value / u->factor), bare ? "" : u->name);
}

void sk_config_field_value(const sk_config_field *field, const sk_config *config, sk_buf *out)
{
    const void *place = (const char *)config + field->at;
    if (is_text(field)) {
        const char *text = *(char *const *)place;
        if (text) sk_buf_bytes(out, sk_bytes_str(text));
        return;
    }
    switch (field->kind) {
    case SK_CONFIG_PORT: sk_buf_printf(out, "%u", (unsigned)*(const uint16_t *)place); break;
    case SK_CONFIG_FLAG: sk_buf_printf(out, "%s", *(const bool *)place ? "true" : "false"); break;
    case SK_CONFIG_CHOICE: sk_buf_printf(out, "%s", field->choices[*(const int *)place]); break;
    default:
        sk_assert(field->kind != SK_CONFIG_PEERS);
        put_measure(field, *(const uint64_t *)place, out);
        break;
    }
}

void sk_config_field_range(const sk_config_field *field, sk_buf *out)
{
    switch (field->kind) {
    case SK_CONFIG_PORT:
    case SK_CONFIG_COUNT:
    case SK_CONFIG_SIZE:
    case SK_CONFIG_DURATION:
        sk_buf_printf(out, "%s", field->or_zero ? "0, or " : "");
        put_measure(field, field->min, out);
        sk_buf_printf(out, " to ");
        put_measure(field, field->max, out);
        break;
    case SK_CONFIG_FLAG: sk_buf_printf(out, "true or false"); break;
    case SK_CONFIG_CHOICE:
        for (int i = 0; field->choices[i]; i++) {
            sk_buf_printf(out, "%s%s", i == 0 ? "" : field->choices[i + 1] ? ", " : " or ", field->choices[i]);
        }
        break;
    case SK_CONFIG_REGION: sk_buf_printf(out, "1 to 32 of a to z, 0 to 9 and -"); break;
    case SK_CONFIG_NAME: sk_buf_printf(out, "1 to %llu bytes", (unsigned long long)field->max); break;
    default: break;
    }
}

bool sk_config_field_is_set(const sk_config_field *field, const sk_config *config)
{
    if (field->kind == SK_CONFIG_PEERS) return config->peer_count > 0;
    return !is_text(field) || *(char *const *)((const char *)config + field->at) != NULL;
}

void sk_config_field_free(const sk_config_field *field, sk_config *config)
{
    if (is_text(field) || field->kind == SK_CONFIG_PEERS) free(*(void **)((char *)config + field->at));
}

/* Structured logs: one event a line, as text or as JSON, to stderr or to a file.
 *
 *     sk_log(SK_LOG_INFO, "link.up", sk_log_text("peer", name), sk_log_int("rtt_ms", 3));
 *
 *     2026-11-21T10:00:00.123Z INFO  link.up peer=us rtt_ms=3
 *     {"time":"2026-11-21T10:00:00.123Z","level":"info","event":"link.up","peer":"us","rtt_ms":3}
 *
 * An event is a name and typed fields, not a sentence: a person greps it, a program parses it, and a value that an
 * outsider chose can neither end the line nor pose as another field.
 *
 * Invariants:
 *  1. A level that is off costs one load and one branch: the fields' expressions are not even evaluated.
 *  2. One event is one line and one write(2) to a file opened for appending, at most SK_LOG_LINE bytes: the lines of
 *     several threads do not mix. A value that is too long is cut, and fields that do not fit are left out; the line
 *     then says truncated=true.
 *  3. A line is valid UTF-8 without control characters (and valid JSON in that format), whatever the values hold.
 *  4. Logging allocates nothing and never fails its caller; lines that could not be written are counted. It does wait
 *     for whoever reads stderr.
 * Every function may be called from any thread, sk_log_open and sk_log_close only while nobody else logs. */
#ifndef SK_NODE_LOG_H
#define SK_NODE_LOG_H

#include "crdt/bytes.h"

#include <stdatomic.h>

typedef enum { SK_LOG_DEBUG, SK_LOG_INFO, SK_LOG_WARN, SK_LOG_ERROR } sk_log_level;
typedef enum { SK_LOG_AS_TEXT, SK_LOG_AS_JSON } sk_log_format;

enum {
    SK_LOG_LINE = 8192,  /* bytes of the longest line, newline included */
    SK_LOG_VALUE = 1024, /* bytes of a value that are looked at, before escaping */
};

typedef enum {
    SK_LOG_FIELD_TEXT,
    SK_LOG_FIELD_INT,
    SK_LOG_FIELD_UINT,
    SK_LOG_FIELD_REAL,
    SK_LOG_FIELD_FLAG
} sk_log_kind;

typedef struct {
    const char *key; /* a word of our own ([a-z0-9_]), never an outsider's; NULL: no field */
    sk_log_kind kind;
    union {
        sk_bytes text; /* borrowed for the call */
        int64_t number;
        uint64_t count;
        double real;
        bool flag;
    };
} sk_log_field;

static inline sk_log_field sk_log_bytes(const char *key, sk_bytes value)
{
    return (sk_log_field){.key = key, .kind = SK_LOG_FIELD_TEXT, .text = value};
}
/** A NULL text is logged as an empty one. */
static inline sk_log_field sk_log_text(const char *key, const char *value)
{
    return sk_log_bytes(key, value ? sk_bytes_str(value) : SK_BYTES_NONE);
}
static inline sk_log_field sk_log_int(const char *key, int64_t value)
{
    return (sk_log_field){.key = key, .kind = SK_LOG_FIELD_INT, .number = value};
}
static inline sk_log_field sk_log_uint(const char *key, uint64_t value)
{
    return (sk_log_field){.key = key, .kind = SK_LOG_FIELD_UINT, .count = value};
}
/** Six significant digits; what is not finite becomes null in JSON. */
static inline sk_log_field sk_log_real(const char *key, double value)
{
    return (sk_log_field){.key = key, .kind = SK_LOG_FIELD_REAL, .real = value};
}
static inline sk_log_field sk_log_flag(const char *key, bool value)
{
    return (sk_log_field){.key = key, .kind = SK_LOG_FIELD_FLAG, .flag = value};
}
/** error="…": the sentence for a code of crdt/error.h. */
sk_log_field sk_log_fault(int code);

/** Where events go from now on: `file` (created with mode 0640, appended to), or stderr when it is NULL. Before the
 *  first call, events from SK_LOG_INFO up go to stderr as text. The name is copied.
 *  0, or SK_E_IO with errno set and everything as it was. */
int sk_log_open(const char *file, sk_log_level level, sk_log_format format);
/** Opens the file's name again, for after a log rotation; nothing to do on stderr. 0, or SK_E_IO with errno set, and
 *  logging goes on into the old file. Not async-signal-safe: call it from the event loop's signal watcher. */
int sk_log_reopen(void);
/** Back to stderr as text at SK_LOG_INFO. */
void sk_log_close(void);

void sk_log_set_level(sk_log_level level);
/** "debug", "info", "warn" or "error". Static. */
const char *sk_log_level_name(sk_log_level level);
/** Lines that could not be written since the start. */
uint64_t sk_log_lost(void);

extern _Atomic int sk_log_threshold; /* the least level that is logged; set through sk_log_set_level */

static inline bool sk_log_on(sk_log_level level)
{
    return (int)level >= atomic_load_explicit(&sk_log_threshold, memory_order_relaxed);
}

/** Writes one event whatever the level; what the macros below expand to. `suppressed` above zero adds a field of that
 *  name. */
void sk_log_write(sk_log_level level, const char *event, const sk_log_field *fields, size_t count, uint32_t suppressed);

/** The line itself, newline included: its length, at most `cap`, which must be at least 256. Pure. */
size_t sk_log_render(char *line, size_t cap, sk_log_format format, uint64_t unix_ms, sk_log_level level,
                     const char *event, const sk_log_field *fields, size_t count);

/* A designated element that holds nothing lets the list of fields be empty. */
#define SK_LOG_FIELDS(...) ((const sk_log_field[]){{.key = NULL}, ##__VA_ARGS__})

/** sk_log(level, event, fields…): logs an event when its level is on. */
#define sk_log(level, event, ...)                                                                                      \
    do {                                                                                                               \
        if (sk_log_on(level))                                                                                          \
            sk_log_write((level), (event), SK_LOG_FIELDS(__VA_ARGS__),                                                 \
                         sizeof SK_LOG_FIELDS(__VA_ARGS__) / sizeof(sk_log_field), 0);                                 \
    } while (0)

/* -- events that an outsider can cause as often as he likes ------------------------------------------------------- */

typedef struct {
    _Atomic uint64_t second;     /* monotonic; the one that `seen` counts in */
    _Atomic uint32_t seen;       /* events in that second */
    _Atomic uint32_t suppressed; /* events kept back since one was last let through */
} sk_log_site;

/** Whether a site that may log `per_second` events may log one more in the second `now_s`. If so, `suppressed` is how
 *  many were kept back since the last. Threads that race here may let a few more through. */
bool sk_log_admit(sk_log_site *site, uint32_t per_second, uint64_t now_s, uint32_t *suppressed);
/** Whole seconds of the monotonic clock. */
uint64_t sk_log_second(void);

/** As sk_log, at most `per_second` times a second at this place in the code; the next one let through says how many
 *  were not, as suppressed=n. */
#define sk_log_limited(per_second, level, event, ...)                                                                  \
    do {                                                                                                               \
        static sk_log_site sk_log_site_here;                                                                           \
        uint32_t sk_log_held_back = 0;                                                                                 \
        if (sk_log_on(level) && sk_log_admit(&sk_log_site_here, (per_second), sk_log_second(), &sk_log_held_back))     \
            sk_log_write((level), (event), SK_LOG_FIELDS(__VA_ARGS__),                                                 \
                         sizeof SK_LOG_FIELDS(__VA_ARGS__) / sizeof(sk_log_field), sk_log_held_back);                  \
    } while (0)

#endif

#include "node/log.h"

#include "crdt/error.h"
#include "crdt/memory.h"
#include "node/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

_Atomic int sk_log_threshold = SK_LOG_INFO;

static struct {
    char *file;            /* owned; NULL: stderr */
    _Atomic int fd;        /* of the file, the same number through every reopening; or stderr's */
    _Atomic int format;    /* sk_log_format */
    _Atomic uint64_t lost; /* lines */
} sink = {.fd = STDERR_FILENO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_labels[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};

const char *sk_log_level_name(sk_log_level level) { return level_names[level]; }

void sk_log_set_level(sk_log_level level) { atomic_store(&sk_log_threshold, (int)level); }

uint64_t sk_log_lost(void) { return atomic_load(&sink.lost); }

sk_log_field sk_log_fault(int code) { return sk_log_text("error", sk_error_text(code)); }

/* -- where lines go --------------------------------------------------------------------------------------------- */

static int open_file(const char *file)
{
    return open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
}

int sk_log_open(const char *file, sk_log_level level, sk_log_format format)
{
    int fd = file ? open_file(file) : STDERR_FILENO;
    if (fd < 0) return SK_E_IO;
    sk_log_close();
    if (file) {
        size_t size = strlen(file) + 1;
        sink.file = sk_alloc(size);
        memcpy(sink.file, file, size);
    }
    atomic_store(&sink.fd, fd);
    atomic_store(&sink.format, (int)format);
    sk_log_set_level(level);
    return 0;
}

int sk_log_reopen(void)
{
    if (!sink.file) return 0;
    int fresh = open_file(sink.file);
    if (fresh < 0) return SK_E_IO;
    /* The new file takes the old one's number in one step, so that a thread that is writing needs no lock. */
    int done = dup3(fresh, atomic_load(&sink.fd), O_CLOEXEC);
    int cause = errno;
    close(fresh);
    errno = cause;
    return done < 0 ? SK_E_IO : 0;
}

void sk_log_close(void)
{
    int fd = atomic_exchange(&sink.fd, STDERR_FILENO);
    if (fd != STDERR_FILENO) close(fd);
    free(sink.file);
    sink.file = NULL;
    atomic_store(&sink.format, SK_LOG_AS_TEXT);
    sk_log_set_level(SK_LOG_INFO);
}

/* -- one line ----------------------------------------------------------------------------------------------------- */

typedef struct {
    char *data; /* borrowed */
    size_t len, cap;
    bool full; /* something did not fit */
} line;

static void put(line *out, const char *data, size_t len)
{
    if (out->full || len > out->cap - out->len) {
        out->full = true;
        return;
    }
    memcpy(out->data + out->len, data, len);
    out->len += len;
}

static void put_text(line *out, const char *text) { put(out, text, strlen(text)); }

/* A value that a reader can take as one word needs no quotes. */
static bool is_bare(sk_bytes value)
{
    for (size_t i = 0; i < value.len; i++) {
        uint8_t byte = value.data[i];
        if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '=' || byte == '\\') return false;
    }
    return value.len > 0;
}

static void put_escaped(line *out, sk_bytes value, sk_log_format format)
{
    char escape[8];
    for (size_t i = 0; i < value.len;) {
        uint32_t character = 0;
        size_t size = sk_utf8_next(value.data + i, value.len - i, &character);
        if (size == 0) {
            /* JSON has no way to say "this byte"; text has. */
            snprintf(escape, sizeof escape, "\\x%02x", value.data[i]);
            put_text(out, format == SK_LOG_AS_JSON ? "\xef\xbf\xbd" : escape);
            size = 1;
        } else if (character == '"' || character == '\\') {
            snprintf(escape, sizeof escape, "\\%c", (int)character);
            put_text(out, escape);
        } else if (character == '\n' || character == '\r' || character == '\t') {
            put_text(out, character == '\n' ? "\\n" : character == '\r' ? "\\r" : "\\t");
        } else if (sk_utf8_is_control(character)) {
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)character);
            put_text(out, escape);
        } else {
            put(out, (const char *)value.data + i, size);
        }
        i += size;
    }
}

/* True when the value was cut. A cut moves back to a character's start, so that it does not look like bad UTF-8. */
static bool put_string(line *out, sk_bytes value, sk_log_format format)
{
    bool cut = value.len > SK_LOG_VALUE;
    if (cut) {
        size_t len = SK_LOG_VALUE;
        while (len > SK_LOG_VALUE - 3 && (value.data[len] & 0xc0) == 0x80) len--;
        value.len = len;
    }
    if (format == SK_LOG_AS_TEXT && is_bare(value)) {
        put(out, (const char *)value.data, value.len);
        return cut;
    }
    put(out, "\"", 1);
    put_escaped(out, value, format);
    put(out, "\"", 1);
    return cut;
}

/* True when the value was cut. */
static bool put_field(line *out, const sk_log_field *field, sk_log_format format)
{
    char number[32] = "";
    put_text(out, format == SK_LOG_AS_JSON ? ",\"" : " ");
    put_text(out, field->key);
    put_text(out, format == SK_LOG_AS_JSON ? "\":" : "=");
    switch (field->kind) {
    case SK_LOG_FIELD_TEXT: return put_string(out, field->text, format);
    case SK_LOG_FIELD_INT: snprintf(number, sizeof number, "%lld", (long long)field->number); break;
    case SK_LOG_FIELD_UINT: snprintf(number, sizeof number, "%llu", (unsigned long long)field->count); break;
    case SK_LOG_FIELD_REAL:
        snprintf(number, sizeof number, "%.6g", field->real);
        if (format == SK_LOG_AS_JSON && !isfinite(field->real)) strcpy(number, "null");
        break;
    case SK_LOG_FIELD_FLAG: strcpy(number, field->flag ? "true" : "false"); break;
    }
    put_text(out, number);
    return false;
}

static void put_head(line *out, sk_log_format format, uint64_t unix_ms, sk_log_level level, const char *event)
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm utc;
    char stamp[40] = "", milliseconds[8];
    if (!gmtime_r(&seconds, &utc)) memset(&utc, 0, sizeof utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(milliseconds, sizeof milliseconds, ".%03uZ", (unsigned)(unix_ms % 1000));
    put_text(out, format == SK_LOG_AS_JSON ? "{\"time\":\"" : "");
    put_text(out, stamp);
    put_text(out, milliseconds);
    if (format == SK_LOG_AS_JSON) {
        put_text(out, "\",\"level\":\"");
        put_text(out, level_names[level]);
        put_text(out, "\",\"event\":\"");
        put_text(out, event);
        put_text(out, "\"");
    } else {
        put_text(out, " ");
        put_text(out, level_labels[level]);
        put_text(out, " ");
        put_text(out, event);
    }
}

size_t sk_log_render(char *data, size_t cap, sk_log_format format, uint64_t unix_ms, sk_log_level level,
                     const char *event, const sk_log_field *fields, size_t count)
{
    enum { TAIL = 32 }; /* kept free for the mark of a cut line, the closing brace and the newline */
    sk_assert(cap >= 256);
    line out = {.data = data, .cap = cap - TAIL};
    bool cut = false;
    put_head(&out, format, unix_ms, level, event);
    for (size_t i = 0; i < count; i++) {
        if (!fields[i].key) continue;
        size_t mark = out.len;
        if (put_field(&out, &fields[i], format)) cut = true;
        if (!out.full) continue;
        out.len = mark; /* whole or not at all; a shorter field further on may still fit */
        out.full = false;
        cut = true;
    }
    out.cap = cap;
    sk_log_field truncated = sk_log_flag("truncated", true);
    if (cut) put_field(&out, &truncated, format);
    put_text(&out, format == SK_LOG_AS_JSON ? "}\n" : "\n");
    return out.len;
}

static bool write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t wrote = write(fd, data, len);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return false;
        data += wrote;
        len -= (size_t)wrote;
    }
    return true;
}

void sk_log_write(sk_log_level level, const char *event, const sk_log_field *fields, size_t count, uint32_t suppressed)
{
    enum { FIELDS = 32 };
    int cause = errno; /* a caller that logs and then looks at errno sees his own */
    char data[SK_LOG_LINE];
    sk_log_field all[FIELDS + 1];
    if (suppressed > 0) {
        sk_assert(count <= FIELDS);
        memcpy(all, fields, count * sizeof *fields);
        all[count++] = sk_log_uint("suppressed", suppressed);
        fields = all;
    }
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t unix_ms = now.tv_sec < 0 ? 0 : (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    sk_log_format format = (sk_log_format)atomic_load_explicit(&sink.format, memory_order_relaxed);
    size_t len = sk_log_render(data, sizeof data, format, unix_ms, level, event, fields, count);
    if (!write_all(atomic_load(&sink.fd), data, len)) atomic_fetch_add(&sink.lost, 1);
    errno = cause;
}

/* -- rate limiting ------------------------------------------------------------------------------------------------ */

uint64_t sk_log_second(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec;
}

bool sk_log_admit(sk_log_site *site, uint32_t per_second, uint64_t now_s, uint32_t *suppressed)
{
    if (atomic_exchange(&site->second, now_s) != now_s) atomic_store(&site->seen, 0);
    if (atomic_fetch_add(&site->seen, 1) >= per_second) {
        atomic_fetch_add(&site->suppressed, 1);
        return false;
    }
    *suppressed = atomic_exchange(&site->suppressed, 0);
    return true;
}

#include "node/resp.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "crdt/number.h"

/* -- requests ------------------------------------------------------------------------------------------------------ */

enum {
    ARGV_FIRST = 8,
    ARGV_KEEP = 1024,        /* slots that an idle parser may hold on to */
    QUICK_HEADER_BYTES = 10, /* the mark and nine digits */
};

void sk_resp_init(sk_resp_parser *parser)
{
    *parser = (sk_resp_parser){
        .limits = {SK_RESP_ARGS_MAX, SK_RESP_BULK_BYTES_MAX, SK_RESP_LINE_BYTES_MAX, .authenticated = false},
    };
}

void sk_resp_free(sk_resp_parser *parser)
{
    free(parser->argv);
    sk_buf_free(&parser->unquoted);
    sk_resp_init(parser);
}

const char *sk_resp_error(const sk_resp_parser *parser) { return parser->error; }

void sk_resp_check(const sk_resp_parser *p)
{
    sk_assert(p->argc <= p->argv_cap);
    if (p->error[0]) return;
    sk_assert(p->state == SK_RESP_START || p->argc == 0 || p->args_left > 0);
    sk_assert(p->state != SK_RESP_HEADER || p->args_left > 0);
    sk_assert(p->state != SK_RESP_BULK || p->scanned == 0);
    sk_assert(p->state != SK_RESP_START || p->at == 0);
}

static int malformed(sk_resp_parser *p, const char *what)
{
    snprintf(p->error, sizeof p->error, "ERR Protocol error: %s", what);
    return SK_E_MALFORMED;
}

static int not_a_bulk(sk_resp_parser *p, uint8_t got)
{
    char what[] = "expected '$', got ' '";
    if (got && got != '\r' && got != '\n') what[sizeof what - 3] = (char)got;
    return malformed(p, what);
}

static void push_arg(sk_resp_parser *p, const uint8_t *data, size_t len)
{
    if (p->argc == p->argv_cap) {
        p->argv_cap = p->argv_cap ? p->argv_cap * 2 : ARGV_FIRST;
        p->argv = sk_realloc(p->argv, p->argv_cap * sizeof *p->argv);
    }
    p->argv[p->argc++] = (sk_bytes){data, len};
}

/* The bytes of the line at p->at before `ending`, searched from where the last call stopped. */
static int find_ending(sk_resp_parser *p, const uint8_t *data, size_t len, uint8_t ending, const char *too_big,
                       size_t *line_len)
{
    const uint8_t *line = data + p->at;
    size_t have = len - p->at, most = p->limits.line_bytes_max;
    size_t window = have <= most ? have : most + 1;
    const uint8_t *found = p->scanned < window ? memchr(line + p->scanned, ending, window - p->scanned) : NULL;
    if (!found) {
        p->scanned = window;
        return have > most ? malformed(p, too_big) : SK_E_PARTIAL;
    }
    *line_len = p->scanned = (size_t)(found - line);
    return SK_OK;
}

/* The number of a header that is as clients write them, "<mark><up to nine digits>\r" and one byte more. Returns the
 * header's length, or 0: not so, or not all there; the long way then finds out which. */
static inline size_t quick_header(const uint8_t *line, size_t have, uint8_t mark, int64_t *number)
{
    if (have < 4 || line[0] != mark) return 0;
    size_t value = (size_t)line[1] - '0', i = 2;
    if (value > 9) return 0;
    if (value > 0) {
        size_t end = have < QUICK_HEADER_BYTES ? have : QUICK_HEADER_BYTES;
        for (size_t digit; i < end && (digit = (size_t)line[i] - '0') <= 9; i++) value = value * 10 + digit;
    }
    if (i + 2 > have || line[i] != '\r') return 0;
    *number = (int64_t)value;
    return i + 2;
}

/* A header the long way: SK_OK with its line's length less the CR and what follows. */
static int whole_header(sk_resp_parser *p, const uint8_t *data, size_t len, const char *too_big, size_t *line_len)
{
    int status = find_ending(p, data, len, '\r', too_big, line_len);
    if (status != SK_OK) return status;
    return *line_len + 2 <= len - p->at ? SK_OK : SK_E_PARTIAL;
}

static int parse_count(sk_resp_parser *p, const uint8_t *data, size_t len)
{
    int64_t number = 0;
    size_t size = quick_header(data, len, '*', &number);
    bool valid = true;
    if (size == 0) {
        int status = whole_header(p, data, len, "too big mbulk count string", &size);
        if (status != SK_OK) return status;
        valid = sk_parse_int64(sk_bytes_of(data + 1, size - 1), &number);
        size += 2;
    }
    if (!valid || (number > 0 && (uint64_t)number > p->limits.args_max))
        return malformed(p, "invalid multibulk length");
    if (number > SK_RESP_UNAUTHENTICATED_ARGS_MAX && !p->limits.authenticated)
        return malformed(p, "unauthenticated multibulk length");
    p->at = size;
    p->scanned = 0;
    p->args_left = number > 0 ? (size_t)number : 0;
    p->state = SK_RESP_HEADER;
    return SK_OK;
}

static int parse_header(sk_resp_parser *p, const uint8_t *data, size_t len)
{
    const uint8_t *line = data + p->at;
    int64_t number = 0;
    size_t size = quick_header(line, len - p->at, '$', &number);
    bool valid = true;
    if (size == 0) {
        int status = whole_header(p, data, len, "too big bulk count string", &size);
        if (status != SK_OK) return status;
        if (line[0] != '$') return not_a_bulk(p, line[0]);
        valid = sk_parse_int64(sk_bytes_of(line + 1, size - 1), &number);
        size += 2;
    }
    if (!valid || number < 0 || (uint64_t)number > p->limits.bulk_bytes_max) return malformed(p, "invalid bulk length");
    if (number > SK_RESP_UNAUTHENTICATED_BULK_BYTES_MAX && !p->limits.authenticated)
        return malformed(p, "unauthenticated bulk length");
    p->at += size;
    p->scanned = 0;
    p->bulk_len = (size_t)number;
    p->state = SK_RESP_BULK;
    return SK_OK;
}

static int parse_multibulk(sk_resp_parser *p, const uint8_t *data, size_t len)
{
    if (p->state == SK_RESP_COUNT) {
        int status = parse_count(p, data, len);
        if (status != SK_OK) return status;
    }
    while (p->args_left) {
        if (p->state == SK_RESP_HEADER) {
            int status = parse_header(p, data, len);
            if (status != SK_OK) return status;
        }
        if (len - p->at < p->bulk_len + 2) return SK_E_PARTIAL;
        push_arg(p, (const uint8_t *)(uintptr_t)p->at, p->bulk_len);
        p->at += p->bulk_len + 2;
        p->args_left--;
        p->state = SK_RESP_HEADER;
    }
    for (size_t i = 0; i < p->argc; i++) p->argv[i].data = data + (uintptr_t)p->argv[i].data;
    return SK_OK;
}

size_t sk_resp_peek(const uint8_t *data, size_t len, sk_bytes argv[SK_RESP_PEEK])
{
    int64_t count, arg_len;
    size_t at = quick_header(data, len, '*', &count), argc = 0;
    if (at == 0) return 0;
    while (argc < SK_RESP_PEEK && (int64_t)argc < count) {
        size_t header = quick_header(data + at, len - at, '$', &arg_len);
        if (header == 0 || (uint64_t)arg_len + 2 > len - at - header) break;
        argv[argc++] = sk_bytes_of(data + at + header, (size_t)arg_len);
        at += header + (size_t)arg_len + 2;
    }
    return argc;
}

/* -- inline requests: a line, split as sdssplitargs splits it ------------------------------------------------------ */

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* What ends an argument: fewer than what may stand between two, as Redis has it. */
static bool is_blank(uint8_t c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that the escape at `at`, a backslash with at least one byte behind it, means. Returns its last byte. */
static const uint8_t *unescape(const uint8_t *at, const uint8_t *end, uint8_t *byte)
{
    static const char names[] = "nrtba", bytes[] = "\n\r\t\b\a";
    if (at[1] == 'x' && end - at > 3 && hex_digit(at[2]) >= 0 && hex_digit(at[3]) >= 0) {
        *byte = (uint8_t)(hex_digit(at[2]) * 16 + hex_digit(at[3]));
        return at + 3;
    }
    const char *name = memchr(names, at[1], sizeof names - 1);
    *byte = name ? (uint8_t)bytes[name - names] : at[1];
    return at + 1;
}

/* What stands in the quotes that open at `at` goes to `out`. Returns what follows them, or NULL if they are not closed
 * or not followed by a space or the end. */
static const uint8_t *unquote(const uint8_t *at, const uint8_t *end, uint8_t **out)
{
    uint8_t quote = *at++;
    for (; at < end && *at != quote; at++) {
        uint8_t byte = *at;
        if (byte == '\\' && end - at > 1) {
            if (quote == '"') {
                at = unescape(at, end, &byte);
            } else if (at[1] == '\'') {
                byte = *++at;
            }
        }
        *(*out)++ = byte;
    }
    if (at == end) return NULL;
    at++;
    return at == end || is_space(*at) ? at : NULL;
}

static bool split_line(sk_resp_parser *p, const uint8_t *at, const uint8_t *end)
{
    uint8_t *out = NULL;
    for (;;) {
        while (at < end && is_space(*at)) at++;
        if (at == end) return true;
        const uint8_t *start = at;
        while (at < end && !is_blank(*at) && *at != '"' && *at != '\'') at++;
        if (at == end || is_blank(*at)) {
            push_arg(p, start, (size_t)(at - start));
            continue;
        }
        /* Room once for all: an argument is never longer than its quoted form, and argv points in here. */
        if (!out) out = sk_buf_reserve(&p->unquoted, (size_t)(end - start));
        uint8_t *arg = out;
        memcpy(out, start, (size_t)(at - start));
        out += at - start;
        at = unquote(at, end, &out);
        if (!at) return false;
        push_arg(p, arg, (size_t)(out - arg));
    }
}

static int parse_line(sk_resp_parser *p, const uint8_t *data, size_t len)
{
    size_t line_len;
    int status = find_ending(p, data, len, '\n', "too big inline request", &line_len);
    if (status != SK_OK) return status;
    p->at = line_len + 1;
    if (line_len > 0 && data[line_len - 1] == '\r') line_len--;
    return split_line(p, data, data + line_len) ? SK_OK : malformed(p, "unbalanced quotes in request");
}

/* -- one request after the other ----------------------------------------------------------------------------------- */

static void begin_request(sk_resp_parser *p)
{
    if (p->argv_cap > ARGV_KEEP) {
        free(p->argv);
        p->argv = NULL;
        p->argv_cap = 0;
    }
    if (p->unquoted.cap) sk_buf_free(&p->unquoted);
    p->argc = 0;
}

int sk_resp_parse(sk_resp_parser *p, const uint8_t *data, size_t len, size_t *used, sk_bytes **argv, size_t *argc)
{
    *used = 0;
    *argv = NULL;
    *argc = 0;
    if (p->error[0]) return SK_E_MALFORMED;
    sk_assert(len >= p->at + p->scanned);
    for (;;) {
        if (p->state == SK_RESP_START) {
            begin_request(p);
            if (len == 0) return SK_E_PARTIAL;
            p->state = *data == '*' ? SK_RESP_COUNT : SK_RESP_LINE;
        }
        int status = p->state == SK_RESP_LINE ? parse_line(p, data, len) : parse_multibulk(p, data, len);
        if (status != SK_OK) return status;
        size_t size = p->at;
        *used += size;
        data += size;
        len -= size;
        p->at = p->scanned = 0;
        p->state = SK_RESP_START;
        if (p->argc > 0) break;
    }
    *argv = p->argv;
    *argc = p->argc;
    return SK_OK;
}

size_t sk_resp_wanted(const sk_resp_parser *p, size_t len)
{
    if (p->state != SK_RESP_BULK) return 1;
    size_t whole = p->at + p->bulk_len + 2;
    size_t most = len > SK_RESP_READ_BYTES ? len : SK_RESP_READ_BYTES;
    size_t missing = whole > len ? whole - len : 1;
    return missing < most ? missing : most;
}

/* -- replies ------------------------------------------------------------------------------------------------------- */

enum { HEADER_CHARS = 1 + SK_INT64_CHARS + 2 };

/* "<mark><number>\r\n" */
static inline size_t format_header(char *text, char mark, int64_t number)
{
    text[0] = mark;
    size_t len = 1 + sk_format_int64(text + 1, number);
    memcpy(text + len, "\r\n", 2);
    return len + 2;
}

static inline void put_header(const sk_reply *reply, char mark, int64_t number)
{
    char text[HEADER_CHARS];
    sk_buf_append(reply->out, text, format_header(text, mark, number));
}

/* head, bytes and CR LF, or nothing. */
static inline void put_parts(const sk_reply *reply, const char *head, size_t head_len, sk_bytes bytes)
{
    sk_buf *out = reply->out;
    if (bytes.len > SIZE_MAX / 2) {
        out->full = true;
        return;
    }
    uint8_t *room = sk_buf_reserve(out, head_len + bytes.len + 2);
    if (!room) return;
    memcpy(room, head, head_len);
    if (bytes.len) memcpy(room + head_len, bytes.data, bytes.len);
    memcpy(room + head_len + bytes.len, "\r\n", 2);
    out->len += head_len + bytes.len + 2;
}

/* A line that its own text cannot end early. */
static void put_line(const sk_reply *reply, char mark, const char *text, size_t len)
{
    size_t before = reply->out->len;
    put_parts(reply, &mark, 1, sk_bytes_of(text, len));
    if (reply->out->full) return;
    for (uint8_t *at = reply->out->data + before + 1, *end = at + len; at < end; at++)
        if (*at == '\r' || *at == '\n') *at = ' ';
}

void sk_reply_ok(const sk_reply *reply) { sk_buf_append(reply->out, "+OK\r\n", 5); }

void sk_reply_simple(const sk_reply *reply, const char *text) { put_line(reply, '+', text, strlen(text)); }

void sk_reply_error(const sk_reply *reply, const char *text)
{
    size_t len = strlen(text);
    while (len > 0 && (text[len - 1] == '\r' || text[len - 1] == '\n')) len--;
    put_line(reply, '-', text, len);
}

void sk_reply_errorf(const sk_reply *reply, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    sk_assert(len >= 0);
    sk_reply_error(reply, text);
}

void sk_reply_int(const sk_reply *reply, int64_t value) { put_header(reply, ':', value); }

void sk_reply_bulk(const sk_reply *reply, sk_bytes bytes)
{
    char head[HEADER_CHARS];
    put_parts(reply, head, format_header(head, '$', (int64_t)bytes.len), bytes);
}

void sk_reply_bulk_str(const sk_reply *reply, const char *text) { sk_reply_bulk(reply, sk_bytes_str(text)); }

void sk_reply_null(const sk_reply *reply)
{
    if (reply->proto >= 3) {
        sk_buf_append(reply->out, "_\r\n", 3);
    } else {
        sk_buf_append(reply->out, "$-1\r\n", 5);
    }
}

void sk_reply_value(const sk_reply *reply, sk_bytes bytes, bool found)
{
    if (found)
        sk_reply_bulk(reply, bytes);
    else
        sk_reply_null(reply);
}

void sk_reply_null_array(const sk_reply *reply)
{
    if (reply->proto >= 3) {
        sk_buf_append(reply->out, "_\r\n", 3);
    } else {
        sk_buf_append(reply->out, "*-1\r\n", 5);
    }
}

void sk_reply_array(const sk_reply *reply, size_t count) { put_header(reply, '*', (int64_t)count); }

void sk_reply_map(const sk_reply *reply, size_t count)
{
    if (reply->proto >= 3) {
        put_header(reply, '%', (int64_t)count);
    } else {
        put_header(reply, '*', (int64_t)count * 2);
    }
}

void sk_reply_set(const sk_reply *reply, size_t count)
{
    put_header(reply, reply->proto >= 3 ? '~' : '*', (int64_t)count);
}

void sk_reply_push(const sk_reply *reply, size_t count)
{
    put_header(reply, reply->proto >= 3 ? '>' : '*', (int64_t)count);
}

void sk_reply_lines(const sk_reply *reply, const char *const *lines, size_t count)
{
    sk_reply_array(reply, count);
    for (size_t i = 0; i < count; i++) sk_reply_simple(reply, lines[i]);
}

void sk_reply_double(const sk_reply *reply, double value)
{
    char text[SK_DOUBLE_CHARS];
    sk_bytes digits = sk_bytes_of(text, sk_format_double(text, value));
    if (reply->proto >= 3) {
        put_parts(reply, ",", 1, digits);
    } else {
        sk_reply_bulk(reply, digits);
    }
}

void sk_reply_bool(const sk_reply *reply, bool value)
{
    const char *text = reply->proto >= 3 ? (value ? "#t\r\n" : "#f\r\n") : (value ? ":1\r\n" : ":0\r\n");
    sk_buf_append(reply->out, text, 4);
}

void sk_reply_big_number(const sk_reply *reply, sk_bytes digits)
{
    if (reply->proto >= 3) {
        put_parts(reply, "(", 1, digits);
    } else {
        sk_reply_bulk(reply, digits);
    }
}

void sk_reply_verbatim(const sk_reply *reply, const char *format, sk_bytes bytes)
{
    if (reply->proto < 3) {
        sk_reply_bulk(reply, bytes);
        return;
    }
    sk_assert(strlen(format) == 3);
    char head[HEADER_CHARS + 4];
    size_t len = format_header(head, '=', (int64_t)bytes.len + 4);
    memcpy(head + len, format, 3);
    head[len + 3] = ':';
    put_parts(reply, head, len + 4, bytes);
}

/* RESP, the protocol of Redis clients: a request parser and a reply writer. Bytes in, commands out; no I/O.
 *
 * The parser is given the bytes received and not yet used, and answers with one command, with "more bytes are needed",
 * or with the error that Redis 7.0 words for it. Arguments point into the input. What has been understood of a request
 * that is not all there is kept as offsets from its first byte, so that the input may move between calls and no byte
 * is looked at again for each few that arrive.
 *
 *         first byte "*"          count > 0           length              length + 2 bytes
 *   START ----------------> COUNT -----------> HEADER ----------> BULK ------------------> HEADER, or done
 *     |                 (parse_count)     (parse_header)     (parse_multibulk)
 *     +---- any other ---> LINE --------------> done; done, or nothing in it: back to START (sk_resp_parse)
 *                      (parse_line)
 *
 * Invariants:
 *  1. Commands and errors do not depend on how the bytes were split; limits apply as they stand at the call.
 *  2. Memory grows with what has arrived, never with what a header claims: argv by its finished arguments.
 *  3. A parser that has answered SK_E_MALFORMED does so for ever: the caller sends the text and hangs up.
 *
 * As in Redis, the byte after a header's CR and the two bytes after a bulk are skipped unread. Unlike in Redis, where a
 * NUL hides the rest of the buffer, a NUL in a line is a byte like others, and the 64 KB that a line may have are
 * counted exactly, not as reads happen to fall. */
#ifndef SK_NODE_RESP_H
#define SK_NODE_RESP_H

#include "crdt/error.h"
#include "crdt/memory.h"

/* -- requests ------------------------------------------------------------------------------------------------------ */

enum {
    SK_RESP_ARGS_MAX = 1024 * 1024,
    SK_RESP_BULK_BYTES_MAX = 512 * 1024 * 1024,
    SK_RESP_LINE_BYTES_MAX = 64 * 1024,
    SK_RESP_UNAUTHENTICATED_ARGS_MAX = 10,
    SK_RESP_UNAUTHENTICATED_BULK_BYTES_MAX = 16384,
    SK_RESP_READ_BYTES = 16 * 1024, /* what a read asks for at most while little has arrived */
};

typedef struct {
    size_t args_max;       /* arguments of a multibulk request, the command's name included */
    size_t bulk_bytes_max; /* of one argument */
    size_t line_bytes_max; /* of an inline request, and of a header's line */
    bool authenticated;    /* until it is: also the two UNAUTHENTICATED limits above, with Redis' own texts */
} sk_resp_limits;

typedef enum {
    SK_RESP_START,  /* between requests */
    SK_RESP_LINE,   /* within an inline request */
    SK_RESP_COUNT,  /* within "*<count>\r\n" */
    SK_RESP_HEADER, /* within "$<length>\r\n" */
    SK_RESP_BULK,   /* within an argument */
} sk_resp_state;

typedef struct {
    sk_resp_limits limits; /* the caller may change them between calls */
    /* The rest is the parser's own. Offsets count from the request's first byte. */
    sk_resp_state state;
    size_t at;        /* where the line or the bulk in hand begins */
    size_t scanned;   /* bytes of the line in hand known not to end it */
    size_t args_left; /* arguments still to come */
    size_t bulk_len;  /* of the argument in hand, in SK_RESP_BULK */
    sk_bytes *argv;   /* owned; `data` holds an offset until the request is whole */
    size_t argc, argv_cap;
    sk_buf unquoted; /* what the quoted arguments of an inline request mean */
    char error[64];  /* not empty: malformed for ever */
} sk_resp_parser;

/** As new, with the default limits and not authenticated. */
void sk_resp_init(sk_resp_parser *parser);
void sk_resp_free(sk_resp_parser *parser);

/** Takes the next command from `data`, which begins with the first byte not yet used: everything received since the
 *  last `used`, at least as much as at the last call less that.
 *
 *  SK_OK: one command, argc ≥ 1; argv is borrowed until the next call on this parser, what it points to also only
 *  until the input is moved or changed. SK_E_PARTIAL: call again when there is more. SK_E_MALFORMED: sk_resp_error
 *  says why.
 *
 *  `used` is set in every case: so many bytes the caller drops (after it is done with argv). Requests without any
 *  argument ("\r\n", "*0\r\n", "*-1\r\n") are skipped, as Redis does, so it may be above zero for SK_E_PARTIAL too. */
int sk_resp_parse(sk_resp_parser *parser, const uint8_t *data, size_t len, size_t *used, sk_bytes **argv, size_t *argc);

enum { SK_RESP_PEEK = 3 };
/** The first arguments, SK_RESP_PEEK at most, of the request that `data` begins with, if it is written as clients write
 *  it and they are all there; else fewer. A look ahead that nothing may rest on: how many. */
size_t sk_resp_peek(const uint8_t *data, size_t len, sk_bytes argv[SK_RESP_PEEK]);

/** After SK_E_PARTIAL: the least number of bytes worth reading next, with `len` bytes of the request at hand. At least
 *  1; at most what the argument in hand lacks; at most `len` or SK_RESP_READ_BYTES, whichever is more, so that a
 *  claimed length alone never sizes a buffer. */
size_t sk_resp_wanted(const sk_resp_parser *parser, size_t len);

/** After SK_E_MALFORMED: the text for sk_reply_error, "ERR Protocol error: …" in Redis' words. Borrowed from the
 *  parser. Empty otherwise. */
const char *sk_resp_error(const sk_resp_parser *parser);

/** Asserts what must hold between calls. */
void sk_resp_check(const sk_resp_parser *parser);

/* -- replies ------------------------------------------------------------------------------------------------------- */

/* Where replies go, and in which version. Each function below appends one reply, or one header, whole or, when the
 * buffer's limit is reached, not at all (the buffer's `full` says so). Types that RESP2 lacks go as what Redis sends in
 * their place. */
typedef struct {
    sk_buf *out; /* borrowed */
    int proto;   /* 2 or 3 */
} sk_reply;

void sk_reply_ok(const sk_reply *reply);
/** "+text"; line breaks within become spaces. */
void sk_reply_simple(const sk_reply *reply, const char *text);
/** "-text", where the text begins with its code ("ERR syntax error", "WRONGTYPE …"); line breaks at its end are
 *  dropped, those within become spaces. */
void sk_reply_error(const sk_reply *reply, const char *text);
/** The same from a printf format; cut at 1023 bytes. */
void sk_reply_errorf(const sk_reply *reply, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sk_reply_int(const sk_reply *reply, int64_t value);
void sk_reply_bulk(const sk_reply *reply, sk_bytes bytes);
void sk_reply_bulk_str(const sk_reply *reply, const char *text);
/** No value: "$-1", RESP3 "_". */
void sk_reply_null(const sk_reply *reply);
/** The bytes, or without a value what sk_reply_null says. */
void sk_reply_value(const sk_reply *reply, sk_bytes bytes, bool found);
/** No array: "*-1", RESP3 "_". */
void sk_reply_null_array(const sk_reply *reply);
/** Headers; the elements follow: `count` of them, for a map `count` pairs of key and value (RESP2: an array). */
void sk_reply_array(const sk_reply *reply, size_t count);
void sk_reply_map(const sk_reply *reply, size_t count);
void sk_reply_set(const sk_reply *reply, size_t count);
void sk_reply_push(const sk_reply *reply, size_t count);
/** An array of simple strings, as HELP gives it. */
void sk_reply_lines(const sk_reply *reply, const char *const *lines, size_t count);
/** ",3.1400000000000001"; RESP2 the same digits as a bulk. */
void sk_reply_double(const sk_reply *reply, double value);
/** "#t" or "#f"; RESP2 1 or 0. */
void sk_reply_bool(const sk_reply *reply, bool value);
/** "(digits"; RESP2 a bulk. The caller vouches that they are digits, with or without a sign before them. */
void sk_reply_big_number(const sk_reply *reply, sk_bytes digits);
/** "=len txt:bytes", `format` being three characters ("txt", "mkd"); RESP2 a bulk of the bytes alone. */
void sk_reply_verbatim(const sk_reply *reply, const char *format, sk_bytes bytes);

#endif

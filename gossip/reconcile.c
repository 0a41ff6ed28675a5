/* Reconciles: a transfer from a sender that has forgotten what it removed. Part of transfer.c's exchange.
 *
 *   sender                                receiver
 *   BEGIN, CHUNKs  --------------------->  staged: what the sender knows to be needed
 *   COMPARE rows, sum of all  ---------->  adds up what it believes that the sender has
 *             <-------------------------   ASK for a range whose sums differ, SK_ASKS_MAX under way
 *   PARTS of it with sums, or its ROWS ->  parts that differ become ranges to ask for;
 *             <-------------------------   WANT: of the rows, those that differ. What the sender has not is staged as absent
 *   CHUNKs  ---------------------------->  staged
 *             <-------------------------   DONE, when no range is left
 *   END  ------------------------------->  as ever; of an audit, what is staged is gone through
 *
 * The receiver drives; the sender answers in the order it is asked, also WANT before a later ASK, so that what it has to
 * keep is bounded by the questions under way. node/compare.h says why this brings all that is needed, and why the receiver
 * must not apply, from BEGIN to the end, transactions that the sender's vector covers (sk_reconcile_withholds): those wait
 * with the ones that wait for their dependencies, or are dropped where there is no room, and come with the transfer.
 *
 * Sums are additive and the sender's snapshot stands still, so what it tells must fit together: the parts of a range are as
 * many rows as it said of the range and have the same sum, the rows of a range too. A sender that contradicts itself, or
 * parts a range without end (DEPTH_MAX), breaks the protocol.
 *
 * Both sides work in small steps, so that a loop stays free, and say something (an acknowledgement again, an empty chunk)
 * when that takes so long that the other could give up. */
#include "gossip/engine_internal.h"

#include <stdlib.h>

enum {
    DEPTH_MAX = 64,   /* parts of parts */
    STEPS_MAX = 8,    /* sums and lists of ranges gone through in a turn */
    ANSWERS_MAX = 4,  /* given in a turn */
    PAUSE_MS = 2,     /* between turns */
    QUESTIONS_MAX = 2 * SK_ASKS_MAX + 1, /* ASKs under way, a WANT for each that was answered, DONE */
};

typedef enum { PUSHING, PREPARING, ASKING, THROUGH, FINISHING } phase;

/* A range of row keys at the receiver. */
typedef struct {
    sk_bytes from, to; /* owned; an empty `to`: no end */
    uint64_t rows;     /* that the sender has in it… */
    sk_digest sum;     /* … and their sum */
    uint32_t depth;
    bool answered;     /* with its rows: */
    sk_buf listed;     /* packed */
    uint32_t count;
    sk_buf at;         /* gone through below here */
    sk_buf wanted;     /* of them, packed: they are asked for in one */
    uint32_t wanted_count;
} range;

struct sk_comparing {
    phase phase;
    sk_vv vv;                  /* owned; the sender's */
    range *open;               /* owned; to be looked at, the lowest one last */
    uint32_t open_count, open_room;
    range asked[SK_ASKS_MAX];  /* in the order that they were asked for */
    uint32_t asked_count;
    uint64_t at_ms;            /* the next step; NEVER: it waits for the sender */
    uint64_t debt_us;          /* to be rested: more work would be more than transfer_share */
    uint64_t rest_until_ms;
    uint64_t said_ms;
};

/* -- ranges -------------------------------------------------------------------------------------------------------- */

static void free_range(range *one)
{
    free((void *)(uintptr_t)one->from.data);
    free((void *)(uintptr_t)one->to.data);
    sk_buf_free(&one->listed);
    sk_buf_free(&one->at);
    sk_buf_free(&one->wanted);
}

static void push_open(struct sk_comparing *comparing, sk_bytes from, sk_bytes to, const sk_part *part, uint32_t depth)
{
    if (comparing->open_count == comparing->open_room) {
        comparing->open_room = comparing->open_room ? comparing->open_room * 2 : SK_PARTS_MAX;
        comparing->open = sk_realloc(comparing->open, comparing->open_room * sizeof *comparing->open);
    }
    comparing->open[comparing->open_count++] =
        (range){.from = sk_bytes_copy(from), .to = sk_bytes_copy(to), .rows = part->rows, .sum = part->sum, .depth = depth};
}

static void drop_asked(struct sk_comparing *comparing, uint32_t at)
{
    free_range(&comparing->asked[at]);
    comparing->asked_count--;
    memmove(comparing->asked + at, comparing->asked + at + 1,
            (comparing->asked_count - at) * sizeof *comparing->asked);
}

/* The one that the next answer is for; NULL: there is none. */
static range *awaited(struct sk_comparing *comparing, uint32_t *at)
{
    for (*at = 0; *at < comparing->asked_count; ++*at)
        if (!comparing->asked[*at].answered) return &comparing->asked[*at];
    return NULL;
}

/* -- the receiver -------------------------------------------------------------------------------------------------- */

void sk_reconcile_begin(sk_engine *engine, const sk_vv *vv)
{
    struct sk_comparing *comparing = engine->incoming.comparing = sk_alloc(sizeof *comparing);
    sk_vv_copy(&comparing->vv, vv);
    comparing->at_ms = NEVER;
}

void sk_reconcile_end(sk_engine *engine)
{
    struct sk_comparing *comparing = engine->incoming.comparing;
    if (!comparing) return;
    for (uint32_t i = 0; i < comparing->open_count; i++) free_range(&comparing->open[i]);
    for (uint32_t i = 0; i < comparing->asked_count; i++) free_range(&comparing->asked[i]);
    free(comparing->open);
    sk_vv_free(&comparing->vv);
    free(comparing);
    engine->incoming.comparing = NULL;
    sk_sooner(&engine->held_retry_at_ms, engine->now_ms); /* what was withheld */
}

bool sk_reconcile_withholds(const sk_engine *engine, sk_dot dot)
{
    return engine->incoming.comparing && sk_vv_covers(&engine->incoming.comparing->vv, dot);
}

bool sk_reconcile_is_through(const sk_engine *engine)
{
    return !engine->incoming.comparing || engine->incoming.comparing->phase == THROUGH;
}

bool sk_reconcile_is_finishing(const sk_engine *engine)
{
    return engine->incoming.comparing && engine->incoming.comparing->phase == FINISHING;
}

void sk_reconcile_finish(sk_engine *engine)
{
    struct sk_comparing *comparing = engine->incoming.comparing;
    if (comparing->phase != FINISHING) comparing->at_ms = engine->now_ms;
    comparing->phase = FINISHING;
}

uint64_t sk_reconcile_next_ms(const sk_engine *engine)
{
    return engine->incoming.comparing ? engine->incoming.comparing->at_ms : NEVER;
}

bool sk_reconcile_is_comparing(const sk_engine *engine)
{
    const struct sk_comparing *comparing = engine->incoming.comparing;
    return comparing && (comparing->phase == PREPARING || comparing->phase == ASKING);
}

void sk_reconcile_forgive(sk_engine *engine)
{
    struct sk_comparing *comparing = engine->incoming.comparing;
    if (!comparing) return;
    comparing->debt_us = comparing->rest_until_ms = 0;
    if (comparing->at_ms != NEVER) comparing->at_ms = engine->now_ms;
}

/* Of so many of the sender's rows more it is known what has to be done. */
static void got_on(sk_engine *engine, uint64_t rows)
{
    sk_pace *pace = &engine->incoming.pace;
    sk_pace_tell(pace, pace->all, pace->done + rows, engine->now_ms);
}

static void send_done(sk_engine *engine)
{
    engine->incoming.comparing->phase = THROUGH;
    engine->incoming.comparing->at_ms = NEVER;
    sk_message_begin(&engine->out, SK_MESSAGE_DONE);
    sk_pack_uint(&engine->out, engine->incoming.number);
    sk_link_send(engine, engine->incoming.peer);
}

/* Rests for the work of a step, in pieces short enough that the sender hears of us in between. */
static void rest(sk_engine *engine)
{
    struct sk_comparing *comparing = engine->incoming.comparing;
    comparing->debt_us += sk_transfer_rest_us(engine);
    uint64_t ms = comparing->debt_us / 1000;
    comparing->debt_us %= 1000;
    if (ms) comparing->rest_until_ms = engine->now_ms + ms;
}

static bool is_resting(sk_engine *engine)
{
    struct sk_comparing *comparing = engine->incoming.comparing;
    if (engine->now_ms >= comparing->rest_until_ms) return false;
    comparing->at_ms = comparing->rest_until_ms;
    sk_sooner(&comparing->at_ms, engine->now_ms + engine->limits.silence_ms / 4 + 1);
    return true;
}

/* Work of our own goes on, and the sender need not give up. */
static void pause(sk_engine *engine)
{
    sk_incoming *incoming = &engine->incoming;
    incoming->comparing->at_ms = engine->now_ms + PAUSE_MS;
    incoming->progress_ms = engine->now_ms;
    if (engine->now_ms - incoming->comparing->said_ms < engine->limits.silence_ms / 4) return;
    incoming->comparing->said_ms = engine->now_ms;
    sk_transfer_send_chunk_ack(engine);
}

/* A range whose sums differ is asked for; of one where the sender has nothing it is known what is in it: dead counts, if there
 * are any, which matter to whoever may take the sender's rows as they are (a repair, an audit). */
static int look_at(sk_engine *engine, range one)
{
    struct sk_comparing *comparing = engine->incoming.comparing;
    sk_digest sum;
    int status = engine->host.sink_sum(engine->host.self, one.from, one.to, &sum);
    if (!status && sum == one.sum) got_on(engine, one.rows);
    if (status || sum == one.sum) {
        free_range(&one);
        return status;
    }
    sk_buf_bytes(&one.at, one.from);
    one.answered = one.rows == 0 && engine->incoming.purpose == SK_FOR_NEWS;
    comparing->asked[comparing->asked_count++] = one;
    if (one.answered) return 0;
    sk_ask_pack(&engine->out, engine->incoming.number, one.from, one.to);
    sk_link_send(engine, engine->incoming.peer);
    return 0;
}

/* Goes on with the first range, of which the rows were told. */
static int settle(sk_engine *engine)
{
    struct sk_comparing *comparing = engine->incoming.comparing;
    range *one = &comparing->asked[0];
    sk_elements rows = {sk_reader_of(sk_buf_view(&one->listed)), one->count};
    int more =
        engine->host.sink_settle(engine->host.self, &one->at, one->to, rows, &one->wanted, &one->wanted_count);
    if (more) return more < 0 ? more : 0;
    if (one->wanted_count) {
        sk_message_begin_list(&engine->out, SK_MESSAGE_WANT, engine->incoming.number, one->wanted_count);
        sk_buf_bytes(&engine->out, sk_buf_view(&one->wanted));
        sk_link_send(engine, engine->incoming.peer);
    }
    got_on(engine, one->rows);
    drop_asked(comparing, 0);
    return 0;
}

static int prepare(sk_engine *engine)
{
    int more = engine->host.sink_compare(engine->host.self);
    if (more == 0) engine->incoming.comparing->phase = ASKING;
    return more < 0 ? more : 0;
}

static int compare(sk_engine *engine)
{
    struct sk_comparing *comparing = engine->incoming.comparing;
    int status = 0;
    for (int i = 0; i < STEPS_MAX && !status; i++) {
        if (comparing->asked_count && comparing->asked[0].answered)
            status = settle(engine);
        else if (comparing->open_count && comparing->asked_count < SK_ASKS_MAX)
            status = look_at(engine, comparing->open[--comparing->open_count]);
        else if (comparing->asked_count == 0 && comparing->open_count == 0) {
            send_done(engine);
            return 0;
        } else {
            comparing->at_ms = NEVER;
            return 0;
        }
    }
    return status;
}

/* Between the parts of a step that failed and the caller nothing is left to do: the transfer is off. */
int sk_reconcile_pump(sk_engine *engine)
{
    struct sk_comparing *comparing = engine->incoming.comparing;
    if (!comparing || engine->now_ms < comparing->at_ms) return 0;
    pause(engine);
    if (is_resting(engine)) return 0;
    if (comparing->phase == FINISHING) {
        int failed = sk_transfer_finish(engine);
        if (engine->incoming.comparing) rest(engine);
        return failed;
    }
    int status = comparing->phase == PREPARING ? prepare(engine) : compare(engine);
    rest(engine);
    return status ? sk_transfer_sink_failed(engine, status) : 0;
}

/* What the sender's vector covers we have nothing of: nothing of it can have been removed there. */
static bool nothing_in_common(const sk_engine *engine, const sk_vv *vv)
{
    for (uint32_t o = 0; o < vv->count; o++)
        if (vv->seq[o] && sk_vv_get(engine->applied, o)) return false;
    return true;
}

static int take_compare(sk_engine *engine, sk_reader *reader)
{
    struct sk_comparing *comparing = engine->incoming.comparing;
    uint64_t number;
    sk_part all = {0};
    int status = sk_compare_read(reader, &number, &all.rows, &all.sum);
    if (status) return status;
    if (comparing->phase != PUSHING) return SK_E_PROTOCOL;
    if (nothing_in_common(engine, &comparing->vv)) {
        send_done(engine);
        return 0;
    }
    comparing->phase = PREPARING;
    engine->incoming.pace = (sk_pace){0};
    sk_pace_tell(&engine->incoming.pace, all.rows, 0, engine->now_ms);
    comparing->said_ms = comparing->at_ms = engine->now_ms;
    push_open(comparing, SK_BYTES_NONE, SK_BYTES_NONE, &all, 0);
    return 0;
}

/* Do they part the range? Their bounds are within it and ascend, and they add up. */
static bool parts_fit(const range *whole, sk_elements parts)
{
    if (parts.count < 2) return false;
    uint64_t rows = 0;
    sk_digest sum = 0;
    sk_bytes before = whole->from;
    sk_part part;
    for (bool first = true; sk_part_next(&parts, &part); first = false) {
        if (first ? part.from.len != 0 : sk_bytes_compare(part.from, before) <= 0) return false;
        if (!first && whole->to.len && sk_bytes_compare(part.from, whole->to) >= 0) return false;
        if (!first) before = part.from;
        rows += part.rows;
        sum += part.sum;
        if (part.rows > whole->rows) return false;
    }
    return rows == whole->rows && sum == whole->sum;
}

static int take_parts(sk_engine *engine, sk_reader *reader)
{
    struct sk_comparing *comparing = engine->incoming.comparing;
    uint64_t number;
    uint32_t at, count = 0;
    sk_elements list;
    int status = sk_parts_read(reader, &number, &list);
    range *whole = awaited(comparing, &at);
    if (status) return status;
    if (!whole || whole->depth == DEPTH_MAX || !parts_fit(whole, list)) return SK_E_PROTOCOL;
    sk_part parts[SK_PARTS_MAX];
    while (sk_part_next(&list, &parts[count])) count++;
    for (uint32_t i = count; i-- > 0;)
        push_open(comparing, i ? parts[i].from : whole->from, i + 1 < count ? parts[i + 1].from : whole->to, &parts[i],
                  whole->depth + 1);
    drop_asked(comparing, at);
    return 0;
}

/* Are they the rows of the range? Keys are within it and ascend, and digests add up, as far as they are told. Rows of dead
 * counts alone, whose digest is 0, are beside the number of rows. */
static bool rows_fit(const range *whole, sk_elements rows)
{
    uint64_t sum = 0, count = 0;
    sk_bytes before = SK_BYTES_NONE;
    sk_listed row;
    while (sk_listed_next(&rows, &row)) {
        if (sk_bytes_compare(row.key, before.data ? before : whole->from) < 0) return false;
        if (before.data && sk_bytes_equal(row.key, before)) return false;
        if (whole->to.len && sk_bytes_compare(row.key, whole->to) >= 0) return false;
        before = row.key;
        sum += row.digest;
        count += row.digest != 0;
    }
    return count == whole->rows && sum == (uint64_t)whole->sum;
}

static int take_rows(sk_engine *engine, sk_reader *reader)
{
    uint64_t number;
    uint32_t at;
    sk_elements list;
    int status = sk_rows_read(reader, &number, &list);
    range *whole = awaited(engine->incoming.comparing, &at);
    if (status) return status;
    if (!whole || !rows_fit(whole, list)) return SK_E_PROTOCOL;
    whole->answered = true;
    whole->count = list.count;
    sk_buf_append(&whole->listed, list.reader.at, (size_t)(reader->at - list.reader.at));
    return 0;
}

int sk_reconcile_told(sk_engine *engine, int type, sk_reader *reader)
{
    struct sk_comparing *comparing = engine->incoming.comparing;
    if (!comparing || !engine->incoming.begun) return SK_E_PROTOCOL;
    int status = type == SK_MESSAGE_COMPARE ? take_compare(engine, reader)
                 : type == SK_MESSAGE_PARTS ? take_parts(engine, reader)
                                            : take_rows(engine, reader);
    if (status) return status;
    engine->incoming.progress_ms = engine->now_ms;
    if (comparing->phase != THROUGH) sk_sooner(&comparing->at_ms, engine->now_ms);
    return sk_reconcile_pump(engine);
}

/* -- the sender ---------------------------------------------------------------------------------------------------- */

void sk_reconcile_send_compare(sk_engine *engine, uint32_t peer)
{
    sk_outgoing *out = &engine->peers[peer].out;
    uint64_t rows;
    sk_digest sum;
    engine->host.source_compare(engine->host.self, out->source, &rows, &sum);
    sk_compare_pack(&engine->out, out->number, rows, sum);
    sk_link_send(engine, peer);
    out->compares = true;
}

/* Questions wait in the order they came: a type, then what it asks for. */
int sk_reconcile_asked(sk_engine *engine, uint32_t peer, int type, sk_reader *reader)
{
    sk_outgoing *out = &engine->peers[peer].out;
    uint64_t number;
    sk_bytes from, to;
    sk_elements keys = {0};
    int status = type == SK_MESSAGE_ASK    ? sk_ask_read(reader, &number, &from, &to)
                 : type == SK_MESSAGE_WANT ? sk_want_read(reader, &number, &keys)
                                           : sk_end_read(reader, &number);
    if (status) return status;
    if (number > out->number) return SK_E_PROTOCOL;
    if (number < out->number || !out->source) return 0; /* of one that was given up */
    if (!out->compares || out->question_count == QUESTIONS_MAX) return SK_E_PROTOCOL;
    sk_pack_uint(&out->questions, (uint64_t)type);
    if (type == SK_MESSAGE_ASK) {
        sk_pack_bytes(&out->questions, from);
        sk_pack_bytes(&out->questions, to);
    } else if (type == SK_MESSAGE_WANT) {
        sk_pack_uint(&out->questions, keys.count);
        sk_pack_bytes(&out->questions, sk_bytes_of(keys.reader.at, (size_t)(reader->at - keys.reader.at)));
    }
    out->question_count++;
    out->progress_ms = engine->now_ms;
    return 0;
}

static int answer(sk_engine *engine, uint32_t peer, sk_reader *reader)
{
    sk_outgoing *out = &engine->peers[peer].out;
    sk_bytes from = sk_read_bytes(reader), to = sk_read_bytes(reader);
    int status = engine->host.source_answer(engine->host.self, out->source, out->number, from, to, &engine->out);
    sk_transfer_charge(engine, peer, status ? 0 : engine->out.len);
    if (!status) sk_link_send(engine, peer);
    return status;
}

static void give(sk_engine *engine, uint32_t peer, sk_reader *reader)
{
    sk_outgoing *out = &engine->peers[peer].out;
    uint64_t count = sk_read_uint(reader);
    sk_bytes keys = sk_read_bytes(reader);
    engine->host.source_want(engine->host.self, out->source, (sk_elements){sk_reader_of(keys), (uint32_t)count});
    out->gives = true;
}

/* The next question. 1: it was dealt with; 0: there is none, or it was the last; or an error. */
int sk_reconcile_answer(sk_engine *engine, uint32_t peer)
{
    sk_outgoing *out = &engine->peers[peer].out;
    if (out->question_count == 0) return 0;
    sk_reader reader = sk_reader_of(sk_buf_view(&out->questions));
    uint64_t type = sk_read_uint(&reader);
    int status = 0;
    if (type == SK_MESSAGE_DONE) {
        sk_transfer_send_end(engine, peer);
        return 0;
    }
    if (type == SK_MESSAGE_ASK)
        status = answer(engine, peer, &reader);
    else
        give(engine, peer, &reader);
    sk_buf_consume(&out->questions, out->questions.len - sk_reader_left(&reader));
    out->question_count--;
    out->progress_ms = engine->now_ms;
    if (type == SK_MESSAGE_ASK && ++out->answers % ANSWERS_MAX == 0) out->again_at_ms = engine->now_ms + PAUSE_MS;
    return status ? status : 1;
}

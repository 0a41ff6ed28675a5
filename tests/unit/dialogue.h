/* The part of a reconcile that is asked and answered (gossip/reconcile.c), between two databases without engines: one range
 * after the other, to its end. */
#ifndef SK_TESTS_DIALOGUE_H
#define SK_TESTS_DIALOGUE_H

#include "node/fold.h"

typedef struct {
    sk_db *from, *to;
    sk_source *source;
    const sk_origin_map *map; /* the numbers of `from` to those of `to` */
    sk_purpose purpose;
    uint32_t questions, wanted;
    size_t bytes; /* of answers and rows */
} dialogue;

/* The rows that are wanted come, a few at a time. */
static inline void dialogue_give(dialogue *with, const sk_buf *wanted, uint32_t count)
{
    int more = count > 0;
    with->wanted += count;
    if (count) sk_source_want(with->from, with->source, (sk_elements){sk_reader_of(sk_buf_view(wanted)), count});
    while (more) {
        sk_buf rows = {0};
        more = sk_source_chunk(with->from, with->source, 50, &rows);
        sk_assert(more >= 0);
        sk_assert(sk_fold_chunk(with->to, sk_buf_view(&rows), with->map) == 0);
        with->bytes += rows.len;
        sk_buf_free(&rows);
    }
}

static inline void dialogue_settle(dialogue *with, sk_bytes from, sk_bytes to, sk_elements rows)
{
    sk_buf at = {0}, wanted = {0};
    sk_buf_bytes(&at, from);
    int more;
    do {
        uint32_t count = 0;
        sk_buf_reset(&wanted);
        more = sk_fold_settle(with->to, &at, to, rows, &wanted, &count);
        sk_assert(more >= 0);
        dialogue_give(with, &wanted, count);
    } while (more);
    sk_buf_free(&at);
    sk_buf_free(&wanted);
}

static inline void dialogue_range(dialogue *with, sk_bytes from, sk_bytes to, uint64_t rows, sk_digest sum)
{
    sk_digest believed;
    uint64_t number, told_rows = 0;
    sk_digest told_sum = 0;
    sk_assert(sk_fold_sum(with->to, from, to, &believed) == 0);
    if (believed == sum) return;
    if (rows == 0 && with->purpose == SK_FOR_NEWS) {
        dialogue_settle(with, from, to, (sk_elements){0});
        return;
    }
    sk_buf answer = {0};
    sk_elements list;
    with->questions++;
    sk_assert(sk_source_answer(with->from, with->source, 1, from, to, &answer) == 0);
    with->bytes += answer.len;
    sk_reader reader = sk_reader_of(sk_buf_view(&answer));
    if (sk_message_type_read(&reader) == SK_MESSAGE_ROWS) {
        sk_assert(sk_rows_read(&reader, &number, &list) == 0);
        sk_listed row;
        for (sk_elements each = list; sk_listed_next(&each, &row);) told_rows += row.digest != 0;
        sk_assert(told_rows == rows);
        dialogue_settle(with, from, to, list);
    } else {
        sk_part parts[SK_PARTS_MAX];
        uint32_t count = 0;
        sk_assert(sk_parts_read(&reader, &number, &list) == 0);
        for (; sk_part_next(&list, &parts[count]); count++) {
            told_rows += parts[count].rows;
            told_sum += parts[count].sum;
        }
        sk_assert(count >= 2);
        sk_assert(told_rows == rows);
        sk_assert(told_sum == sum);
        for (uint32_t i = 0; i < count; i++)
            dialogue_range(with, i ? parts[i].from : from, i + 1 < count ? parts[i + 1].from : to, parts[i].rows,
                           parts[i].sum);
    }
    sk_buf_free(&answer);
}

/* All of it: the source has pushed what it had to. */
static inline void dialogue_run(dialogue *with)
{
    uint64_t rows;
    sk_digest sum;
    int more;
    do more = sk_fold_compare(with->to);
    while (more > 0);
    sk_assert(more == 0);
    sk_source_compare(with->from, with->source, &rows, &sum);
    dialogue_range(with, SK_BYTES_NONE, SK_BYTES_NONE, rows, sum);
    sk_assert(sk_fold_sum(with->to, SK_BYTES_NONE, SK_BYTES_NONE, &sum) == 0);
}

#endif

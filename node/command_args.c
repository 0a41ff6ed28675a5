#include "node/command_args.h"

#include <ctype.h>
#include <stdio.h>

enum { ARG_NAME_MAX = 64 };

typedef struct arg {
    char name[ARG_NAME_MAX];
    const char *type;
    sk_bytes token; /* before it; of a pure token it is all */
    bool optional, multiple;
    struct arg *first, *next; /* of a block or a choice, its parts; its neighbour */
} arg;

typedef struct {
    sk_arena arena;
    const sk_command *command;
} parser;

/* -- names and types ----------------------------------------------------------------------------------------------- */

static const char *type_of(const parser *of, const char *name)
{
    static const char *const types[][2] = {
        {"key", " key newkey source destination "},
        {"integer", " seconds milliseconds count cursor start end offset decrement increment limit numkeys index "
                    "destination-db numreplicas timeout protover client-id "},
        {"unix-time", " unix-time-seconds unix-time-milliseconds "},
        {"pattern", " pattern "},
    };
    char word[ARG_NAME_MAX + 2];
    if (strcmp(name, "increment") == 0 && strstr(of->command->name, "float")) return "double";
    snprintf(word, sizeof word, " %s ", name);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strstr(types[i][1], word)) return types[i][0];
    return "string";
}

static arg *new_arg(parser *of, const char *type, sk_bytes name)
{
    arg *made = sk_arena_take(&of->arena, sizeof *made);
    *made = (arg){.type = type};
    for (size_t i = 0; i < name.len && i + 1 < sizeof made->name; i++) made->name[i] = (char)tolower(name.data[i]);
    return made;
}

static arg *pure_token(parser *of, sk_bytes word)
{
    arg *made = new_arg(of, "pure-token", word);
    made->token = word;
    return made;
}

/* Several in one: a block, named by its parts. */
static arg *block_of(parser *of, arg *first)
{
    arg *block = new_arg(of, "block", SK_BYTES_NONE);
    block->first = first;
    for (arg *part = first; part; part = part->next) {
        size_t len = strlen(block->name);
        snprintf(block->name + len, sizeof block->name - len, "%s%.*s", len ? "_" : "", ARG_NAME_MAX / 2, part->name);
    }
    return block;
}

/* -- the syntax ---------------------------------------------------------------------------------------------------- */

static sk_bytes part_of(sk_bytes text, size_t from, size_t end)
{
    while (from < end && text.data[from] == ' ') from++;
    while (end > from && text.data[end - 1] == ' ') end--;
    return sk_bytes_of(text.data + from, end - from);
}

/* Where what begins at `from` ends: before a bar outside of brackets (`loose`: only one between spaces), or a space with
 * `word`, or behind the bracket that is opened there. */
static size_t end_of(sk_bytes text, size_t from, bool word, bool loose)
{
    int depth = 0;
    for (size_t at = from; at < text.len; at++) {
        uint8_t c = text.data[at];
        if (depth == 0 && word && c == ' ') return at;
        bool spaced = at > 0 && text.data[at - 1] == ' ';
        if (depth == 0 && !word && c == '|' && (spaced || !loose)) return at;
        depth += (c == '[') - (c == ']');
    }
    return text.len;
}

static bool is_token(sk_bytes word)
{
    for (size_t i = 0; i < word.len; i++)
        if (!isupper(word.data[i]) && word.data[i] != '-') return false;
    return word.len > 0;
}

static arg *group(parser *of, sk_bytes text, bool loose);

/* The last `count` of a list come one or more times. */
static void repeat(parser *of, arg **list, size_t count)
{
    size_t all = 0;
    for (arg *at = *list; at; at = at->next) all++;
    sk_assert(count > 0 && count <= all);
    for (; all > count; all--) list = &(*list)->next;
    if (count > 1) *list = block_of(of, *list);
    (*list)->multiple = true;
}

static size_t words_in(sk_bytes text)
{
    size_t words = 0;
    for (size_t at = 0; at < text.len; at = end_of(text, at, true, false) + 1) words++;
    return words;
}

static arg *choice_of_words(parser *of, sk_bytes words)
{
    arg *choice = new_arg(of, "oneof", sk_bytes_str("option")), **last = &choice->first;
    for (size_t at = 0; at < words.len; last = &(*last)->next) {
        size_t end = end_of(words, at, false, false);
        *last = pure_token(of, part_of(words, at, end));
        at = end + 1;
    }
    return choice;
}

/* What stands side by side. */
static arg *sequence(parser *of, sk_bytes text)
{
    arg *list = NULL, **last = &list;
    for (size_t at = 0, end; at < text.len; at = end + 1) {
        end = end_of(text, at, true, false);
        sk_bytes word = part_of(text, at, end), rest = part_of(text, end, text.len);
        if (word.len == 0) continue;
        if (word.data[0] == '[') {
            sk_bytes inner = sk_bytes_of(word.data + 1, word.len - 2);
            if (inner.len > 4 && memcmp(inner.data + inner.len - 4, " ...", 4) == 0) {
                repeat(of, &list, words_in(inner) - 1);
                for (last = &list; *last;) last = &(*last)->next;
                continue;
            }
            *last = group(of, inner, false);
            (*last)->optional = true;
        } else if (is_token(word) && rest.len && rest.data[0] != '[') {
            *last = group(of, rest, true);
            (*last)->token = word;
            return list;
        } else if (memchr(word.data, '|', word.len)) {
            *last = choice_of_words(of, word);
        } else if (is_token(word)) {
            *last = pure_token(of, word);
        } else {
            *last = new_arg(of, "", word);
            (*last)->type = type_of(of, (*last)->name);
        }
        last = &(*last)->next;
    }
    return list;
}

/* What a text stands for, as one argument. "TYPE A|B" is a choice with a token before it. */
static arg *group(parser *of, sk_bytes text, bool loose)
{
    size_t end = end_of(text, 0, false, loose);
    if (end == text.len) {
        arg *list = sequence(of, text);
        return list && !list->next ? list : block_of(of, list);
    }
    arg *choice = new_arg(of, "oneof", sk_bytes_str("option")), **last = &choice->first;
    size_t first = end_of(text, 0, true, false), second = end_of(text, first + 1, true, false);
    sk_bytes word = part_of(text, 0, first), after = part_of(text, first, second);
    const uint8_t *bar = memchr(after.data, '|', after.len);
    if (is_token(word) && is_token(sk_bytes_of(after.data, bar ? (size_t)(bar - after.data) : after.len))) {
        choice = new_arg(of, "oneof", word);
        choice->token = word;
        last = &choice->first;
        text = part_of(text, first, text.len);
    }
    for (size_t at = 0; at < text.len; at = end + 1, last = &(*last)->next) {
        end = end_of(text, at, false, loose);
        *last = group(of, part_of(text, at, end), loose);
    }
    return choice;
}

/* -- replying ------------------------------------------------------------------------------------------------------ */

static void reply_args(const sk_reply *reply, const sk_command *command, const arg *list, bool *has_key)
{
    size_t count = 0;
    for (const arg *at = list; at; at = at->next) count++;
    sk_reply_array(reply, count);
    for (const arg *at = list; at; at = at->next) {
        bool is_key = strcmp(at->type, "key") == 0 && (command->first_key || command->flags & SK_CMD_NUMKEYS);
        size_t flags = (size_t)at->optional + at->multiple;
        sk_reply_map(reply, 2 + (size_t)is_key + (at->token.len > 0) + (flags > 0) + (at->first != NULL));
        sk_reply_bulk_str(reply, "name");
        sk_reply_bulk_str(reply, at->name);
        sk_reply_bulk_str(reply, "type");
        sk_reply_bulk_str(reply, at->type);
        if (is_key) {
            sk_reply_bulk_str(reply, "key_spec_index");
            sk_reply_int(reply, *has_key && command->flags & SK_KEY_THEN(SK_KEY_USE));
            *has_key = true;
        }
        if (at->token.len) {
            sk_reply_bulk_str(reply, "token");
            sk_reply_bulk(reply, at->token);
        }
        if (flags) {
            sk_reply_bulk_str(reply, "flags");
            sk_reply_set(reply, flags);
            if (at->optional) sk_reply_simple(reply, "optional");
            if (at->multiple) sk_reply_simple(reply, "multiple");
        }
        if (at->first) {
            sk_reply_bulk_str(reply, "arguments");
            reply_args(reply, command, at->first, has_key);
        }
    }
}

void sk_reply_arguments(const sk_reply *reply, const sk_command *command)
{
    parser of = {.command = command};
    sk_bytes syntax = sk_bytes_str(command->args);
    bool has_key = false, is_choice = end_of(syntax, 0, false, true) < syntax.len;
    reply_args(reply, command, is_choice ? group(&of, syntax, true) : sequence(&of, syntax), &has_key);
    sk_arena_free(&of.arena);
}

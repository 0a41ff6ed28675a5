/* Commands: one table that says everything about each, and the way from a request to its reply.
 *
 * A command's function reads top to bottom: look up, check, change, reply. It runs inside a transaction that the
 * dispatcher opened and will commit (one dot for all that it, or a whole MULTI, changed); it checks everything that can
 * be refused before its first change, because nothing is rolled back, but for one thing: a transaction that becomes
 * larger than it may is undone as a whole, and its reply replaced. Every error is a reply; a function that has replied
 * with an error returns. */
#ifndef SK_NODE_COMMAND_H
#define SK_NODE_COMMAND_H

#include "node/client.h"
#include "node/db.h"
#include "node/resp.h"

typedef struct sk_replica sk_replica;
typedef struct sk_client sk_client;
typedef struct sk_command sk_command;

/* What a command's function is given. Everything is borrowed until it returns. */
typedef struct {
    sk_replica *replica;
    sk_db *db;
    sk_client *client;
    const sk_command *command; /* the subcommand, where there is one */
    const sk_bytes *argv;      /* argv[0] is the command's name */
    size_t argc;
    const sk_reply *reply;
    sk_arena *arena; /* reset after the command */
} sk_ctx;

typedef void sk_command_fn(sk_ctx *ctx);

enum { /* flags; the words that COMMAND shows are in command.c */
    SK_CMD_WRITE = 1 << 0,
    SK_CMD_READONLY = 1 << 1,
    SK_CMD_FAST = 1 << 2,
    SK_CMD_ADMIN = 1 << 3,
    SK_CMD_NO_AUTH = 1 << 4,   /* allowed before AUTH */
    SK_CMD_LOADING = 1 << 5,   /* allowed while the database is not ready */
    SK_CMD_NO_MULTI = 1 << 6,  /* refused inside MULTI */
    SK_CMD_IMMEDIATE = 1 << 7, /* runs at once inside MULTI instead of being queued */
    SK_CMD_ALL_KEYS = 1 << 8,  /* looks at the whole keyspace */
    SK_CMD_BLOCKING = 1 << 9,
    SK_CMD_DENYOOM = 1 << 10,  /* may add data */
    SK_CMD_NUMKEYS = 1 << 11,  /* its first argument says how many keys follow */
    SK_CMD_NOSCRIPT = 1 << 12, /* as Redis flags it: there are no scripts here */
    SK_CMD_ALLOW_BUSY = 1 << 13, /* likewise */
    SK_CMD_RUNS_QUEUE = 1 << 14, /* EXEC: it does what the commands do that MULTI has queued, and no more */
    /* What it does with its first key, as key specifications say it; 0: SK_KEY_READS, or SK_KEY_UPDATES if it writes. */
    SK_KEY_USE = 15 << 16,
    SK_KEY_READS = 1 << 16,
    SK_KEY_PEEKS = 2 << 16,    /* whether it is there, what type, how large */
    SK_KEY_UPDATES = 3 << 16,
    SK_KEY_ADDS = 4 << 16,
    SK_KEY_DELETES = 5 << 16,  /* some of its content */
    SK_KEY_RENEWS = 6 << 16,   /* reads and updates */
    SK_KEY_TAKES = 7 << 16,    /* reads and deletes */
    SK_KEY_REPLACES = 8 << 16, /* whatever was there */
    SK_KEY_CREATES = 9 << 16,
    SK_KEY_REMOVES = 10 << 16,
#define SK_KEY_THEN(use) ((use) << 4) /* with the keys behind the first, where that is something else */
};

struct sk_command {
    const char *name;    /* lower case */
    sk_command_fn *run;  /* NULL for a container */
    int arity;           /* arguments with the name; negative: at least that many */
    unsigned flags;
    int first_key, last_key, key_step; /* as COMMAND has them; 0, 0, 0: no keys */
    const char *group;   /* generic string hash set connection server transactions replication */
    const char *acl;     /* further categories, "@write @string @fast" */
    const char *since;   /* Redis version that had it, or skerry's own */
    const char *args;    /* syntax after the name */
    const char *summary; /* one sentence without a full stop */
    const sk_command *subcommands; /* ends with a NULL name */
};

/* Each file of commands has one table, ending with a NULL name; command.c knows them all. */
extern const sk_command sk_commands_string[], sk_commands_hash[], sk_commands_set[], sk_commands_key[],
    sk_commands_connection[], sk_commands_server[], sk_commands_transaction[], sk_commands_siblings[],
    sk_commands_session[], sk_commands_export[];

/** The command of that name in any case, or NULL. */
const sk_command *sk_command_find(sk_bytes name);
/** The command or subcommand that a request names (of a container alone the container), or NULL. argc ≥ 1. */
const sk_command *sk_command_named(const sk_bytes *argv, size_t argc);

enum { SK_COMMAND_NAME_MAX = 64 };
/** "get", "client|info". */
void sk_command_full_name(const sk_command *command, char name[SK_COMMAND_NAME_MAX]);
/** All top-level commands, for COMMAND and the docs. Calls visit for each in the order of the tables. */
void sk_command_each(void (*visit)(void *self, const sk_command *command), void *self);
/** Every key of the request, by the command's key positions (command-specific rules included); `count` is 0 if it has none
 *  or they do not fit. `keys` is in the arena. SK_E_MEMORY. */
int sk_command_keys(const sk_command *command, const sk_bytes *argv, size_t argc, sk_arena *arena, sk_bytes **keys,
                    size_t *count);
/** Runs one request of a client; appends the reply, if it is not blocked (node/client.h). */
void sk_command_execute(sk_replica *replica, sk_client *client, const sk_bytes *argv, size_t argc,
                        const sk_reply *reply);
/** Looks ahead: has the row fetched that a request with these first arguments will most likely ask for. */
void sk_command_foresee(sk_db *db, const sk_bytes *argv, size_t argc);

/** True if the argument is this word, in any case. */
bool sk_arg_is(sk_bytes arg, const char *word);
/** Parses an integer argument; replies "ERR value is not an integer or out of range" and returns false otherwise. */
bool sk_arg_int(sk_ctx *ctx, sk_bytes arg, int64_t *value);
/** The number of a database, of which there is only 0: replies with an error and returns false for any other. */
bool sk_arg_database(sk_ctx *ctx, sk_bytes arg);
/** Replies "ERR syntax error". */
void sk_reply_syntax(sk_ctx *ctx);
/** Replies with what an error code of a layer below means to a client. What the open transaction has done is undone then:
 *  it may be half of it. */
void sk_reply_failure(sk_ctx *ctx, int status);

#endif

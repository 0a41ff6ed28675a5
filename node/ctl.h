/* skerryctl, what its files share: options, connections to nodes, and the two ways to print.
 *
 * Every command prints either text for people or, with --json, one JSON document; errors go to the standard error, one
 * line each. Nodes are asked over RESP2 with hiredis, so a map comes as an array of names and values.
 *
 * Exit codes: CTL_OK, CTL_NO (asked and answered: no), CTL_USAGE, CTL_FAILED (no connection, or the node said why). */
#ifndef SK_NODE_CTL_H
#define SK_NODE_CTL_H

#include "crdt/memory.h"

#include <hiredis/hiredis.h>

enum { CTL_OK = 0, CTL_NO = 1, CTL_USAGE = 2, CTL_FAILED = 3 };
enum { CTL_ADDRESSES_MAX = 8, CTL_NODES_MAX = 64, CTL_HOST_MAX = 256, CTL_NAME_MAX = CTL_HOST_MAX + 16, CTL_PORT = 7101 };

typedef struct {
    char host[CTL_HOST_MAX];
    int port;
    char name[CTL_NAME_MAX]; /* "host:port" */
    redisContext *link;      /* owned; NULL: not connected */
    bool quiet;              /* no errors printed: the caller tries again */
} ctl_node;

typedef struct {
    ctl_node nodes[CTL_NODES_MAX];
    int node_count; /* at least 1 */
    bool json;
    double timeout_s;  /* of one question; of the whole wait for wait-converged. 0: not given */
    const char *keep;  /* of siblings resolve, purge and region rekey; NULL: not given */
    const char *public_key; /* region add, forget, rekey; NULL: not given */
    const char *addresses[CTL_ADDRESSES_MAX]; /* region add */
    int address_count;
    char *password;    /* owned; NULL: none */
} ctl_tool;

/* -- nodes --------------------------------------------------------------------------------------------------------- */

/** Reads "host", "host:port" or "[v6]:port" into the next node. False if it is none of these, or there are too many. */
bool ctl_node_add(ctl_tool *ctl, const char *text);
/** Asks a node, connecting (and giving the password) first if need be. The reply is the caller's, for freeReplyObject.
 *  NULL after printing why there is none, an error reply included. */
redisReply *ctl_ask(ctl_tool *ctl, ctl_node *node, int argc, const char *const *argv);
/** The same for arguments that may hold any byte. */
redisReply *ctl_ask_bytes(ctl_tool *ctl, ctl_node *node, int argc, const sk_bytes *argv);
void ctl_disconnect(ctl_node *node);
/** Prints one line to the standard error, after the node's name, and returns CTL_FAILED. */
int ctl_complain(const ctl_node *node, const char *text);

/* What replies hold; a reply of another shape than expected gives the zero of the type. */
sk_bytes ctl_text(const redisReply *reply);
int64_t ctl_int(const redisReply *reply);
/** The value of that name in a map; NULL if it is not there. */
const redisReply *ctl_field(const redisReply *map, const char *name);
size_t ctl_count(const redisReply *array);
/** Is what REGION LIST says of a database that of another region of the cluster? Not of the node that was asked, nor of one
 *  that is out (forgotten, replaced, refused). */
bool ctl_is_peer(const redisReply *region);
bool ctl_is_up(const redisReply *region);

/* -- printing ------------------------------------------------------------------------------------------------------ */

/** Appends bytes for people: as they are if they are UTF-8 without control characters, else quoted and escaped. */
void ctl_show(sk_buf *out, sk_bytes text);

typedef struct {
    sk_buf out;
    bool comma; /* the next element needs one */
} ctl_json;

/* Elements; `name` is NULL within an array. */
void ctl_json_open(ctl_json *json, const char *name, char bracket);
void ctl_json_close(ctl_json *json, char bracket);
/** A string; bytes that are not UTF-8 become {"base64": "…"}. */
void ctl_json_text(ctl_json *json, const char *name, sk_bytes text);
void ctl_json_int(ctl_json *json, const char *name, int64_t value);
void ctl_json_bool(ctl_json *json, const char *name, bool value);
/** A map reply as an object: strings and integers. */
void ctl_json_map(ctl_json *json, const char *name, const redisReply *map);
/** Prints the document with a line end, and frees it. */
void ctl_json_print(ctl_json *json);
/** Prints what `out` holds, and frees it. */
void ctl_print(sk_buf *out);
/** Prints the one that was asked for, and frees both. */
void ctl_print_either(const ctl_tool *ctl, ctl_json *json, sk_buf *text);

/* -- commands: arguments are those after the command's name(s) ----------------------------------------------------- */

typedef int ctl_run(ctl_tool *ctl, int argc, char **argv);

ctl_run ctl_keygen, ctl_status, ctl_region_list, ctl_region_lag, ctl_region_link, ctl_region_audit,
    ctl_digest; /* ctl_region.c */
ctl_run ctl_region_add, ctl_region_forget, ctl_region_rekey;                                  /* ctl_member.c */
ctl_run ctl_siblings_list, ctl_siblings_get, ctl_siblings_resolve;                            /* ctl_siblings.c */
ctl_run ctl_policy_list, ctl_policy_get, ctl_policy_set;                                      /* ctl_siblings.c */
ctl_run ctl_wait_converged;                                                                   /* ctl_wait.c */
ctl_run ctl_backup, ctl_backups, ctl_purge, ctl_verify, ctl_restore;                          /* ctl_backup.c */
ctl_run ctl_export, ctl_import;                                                               /* ctl_export.c */

#endif

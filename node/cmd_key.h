/* The commands on whole keys, and what their files share. The table is in node/cmd_key.c. */
#ifndef SK_NODE_CMD_KEY_H
#define SK_NODE_CMD_KEY_H

#include "node/keyspace.h"

sk_command_fn sk_cmd_rename, sk_cmd_renamenx, sk_cmd_copy; /* node/cmd_copy.c */
sk_command_fn sk_cmd_scan, sk_cmd_keys, sk_cmd_randomkey;  /* node/cmd_scan.c */

#endif

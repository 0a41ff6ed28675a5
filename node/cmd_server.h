/* The commands about the server. The table is in node/cmd_server.c. */
#ifndef SK_NODE_CMD_SERVER_H
#define SK_NODE_CMD_SERVER_H

#include "node/command.h"

sk_command_fn sk_cmd_info;                         /* node/cmd_info.c */
sk_command_fn sk_cmd_flush;                        /* node/cmd_flush.c */
sk_command_fn sk_cmd_command;                      /* node/cmd_command.c */
extern const sk_command sk_command_subcommands[];  /* likewise: COMMAND COUNT and so on */
extern const sk_command sk_config_subcommands[];   /* node/cmd_config.c */
extern const sk_command sk_backup_subcommands[];   /* node/cmd_backup.c */

#endif

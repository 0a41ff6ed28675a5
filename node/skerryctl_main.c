/* skerryctl: what an operator asks of nodes and tells them, over their ordinary port. One table has every command. */
#include "node/ctl.h"
#include "node/version.h"

#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    const char *group, *name; /* "region list": group and name; else name alone */
    const char *args;
    int least, most; /* arguments */
    bool many;       /* asks every -H; else one */
    ctl_run *run;
    const char *help;
} ctl_command;

static const ctl_command commands[] = {
    {NULL, "keygen", "[FILE]", 0, 1, true, ctl_keygen,
     "Makes a node's key pair: the secret key goes into FILE (node.key), which must not exist yet and which only\n"
     "its owner may read; the public key, for the other nodes' configuration, is printed."},
    {NULL, "status", "", 0, 0, true, ctl_status,
     "A table of the regions as each node sees them: link, lag in transactions (here on disk, there not\n"
     "acknowledged), time since it was last heard, round trip, clock offset, version vector; how many keys and\n"
     "fields are in conflict; the digest of the state. Exit code 1 when a link is not up."},
    {NULL, "digest", "", 0, 0, true, ctl_digest,
     "The digest of a node's whole replicated state, and the version vector that it belongs to. Nodes with equal\n"
     "vectors have equal digests."},
    {NULL, "wait-converged", "", 0, 0, true, ctl_wait_converged,
     "Waits until the regions agree, for --timeout seconds (60). With several -H: until these nodes' vectors and\n"
     "digests are equal. With one: until all its links are up and all peers have on disk what it has. Nodes that\n"
     "cannot be reached are tried again. Exit code 1: not converged in time."},
    {"region", "list", "", 0, 0, true, ctl_region_list, "Every region as each node sees it."},
    {"region", "lag", "", 0, 0, true, ctl_region_lag,
     "For each other region how many transactions it lacks of this node's, and this node of its."},
    {"region", "audit", "[start | resolve KEY from REGION]", 0, 4, true, ctl_region_audit,
     "Whether everything on the node's disk is what was put there, and what the other regions have, and which rows are not;\n"
     "exit code 1 where it is not, or not known yet. With start it looks anew. With resolve the rows of a key that differ\n"
     "from that region's become that region's."},
    {"region", "link", "NAME up|down", 2, 2, false, ctl_region_link,
     "Takes the node's link to region NAME out of service, or into it again. Both sides go on taking writes. It is\n"
     "remembered in memory only: when the node is started again the link is in service."},
    {NULL, "backup", "[DIR]", 0, 1, false, ctl_backup,
     "Has the node make a backup and waits until it is done: in DIR, a directory on the node's machine, which must be\n"
     "its storage.backup_dir (the default) or below it. The node goes on serving. Several backups in one directory\n"
     "share what they have in common: each costs what is new."},
    {NULL, "backups", "DIR", 1, 1, true, ctl_backups,
     "Lists the backups in a directory of this machine. No node is asked, nor by the next three."},
    {NULL, "verify", "DIR [NUMBER]", 1, 2, true, ctl_verify,
     "Checks a backup (the newest, or that NUMBER): every file's bytes, every row and record, and that the rows' digest is\n"
     "the one that was stored. Or the data directory of a node that is stopped, likewise, without changing it. Exit code\n"
     "3, and a line for each thing that is damaged."},
    {NULL, "restore", "DIR DATADIR [NUMBER]", 2, 3, true, ctl_restore,
     "Makes a data directory out of a backup (the newest, or that NUMBER): of the same region as before, for a node\n"
     "that is then started on it. DATADIR must be empty. The node begins a new life and learns from its peers what\n"
     "was written since."},
    {NULL, "purge", "DIR --keep N", 1, 1, true, ctl_purge,
     "Removes all but the newest N backups, and the files that only they had."},
    {NULL, "export", "FILE", 1, 1, false, ctl_export,
     "Writes the node's whole state into FILE (-: the standard output): every row with its siblings and causal contexts,\n"
     "as a stream that any version of this format reads, and other programs too (node/README.md)."},
    {NULL, "import", "FILE", 1, 1, false, ctl_import,
     "Merges such a stream (-: from the standard input) into the node: what it has and the stream does not know stays,\n"
     "what the stream knows to be removed goes, and the other regions get it. All of it or, when the stream is cut or\n"
     "damaged or the node stops meanwhile, nothing."},
    {"region", "add", "NAME --public-key KEY [--address HOST:PORT ...]", 1, 1, false, ctl_region_add,
     "Takes region NAME into the cluster: the node whose public key (skerryctl keygen) this is, at its replication\n"
     "address; of several the first that answers, without one it is awaited and not dialed. All regions learn of it from\n"
     "this one. A region that was forgotten is added again in the same way and keeps its writes; one that is there gets\n"
     "these addresses."},
    {"region", "forget", "NAME [--public-key KEY]", 1, 1, false, ctl_region_forget,
     "Region NAME is no member any more: no region waits for it, and it is refused. What only some regions have of its\n"
     "writes reaches all of them (region list says when). With --public-key only the database with that key, where\n"
     "several were added under one name."},
    {"region", "rekey", "NAME --public-key KEY [--keep TIME]", 1, 1, false, ctl_region_rekey,
     "Gives region NAME a new public key. It may connect with the old one for TIME (24h; 30m, 7d or seconds), in which\n"
     "its node is to be started with the new key file."},
    {"siblings", "list", "", 0, 0, false, ctl_siblings_list, "Keys and hash fields in conflict."},
    {"siblings", "get", "KEY [FIELD]", 1, 2, false, ctl_siblings_get,
     "The siblings of a key, or of a field of a hash, each with region, time, type and value, and the context that\n"
     "resolve wants. Exit code 1 when there is nothing."},
    {"siblings", "resolve", "KEY CONTEXT VALUE [FIELD] | KEY CONTEXT --keep string|hash|set", 2, 4, false,
     ctl_siblings_resolve,
     "Puts one value in the place of the siblings that the context covers; with --keep, for a key that was given\n"
     "several types, leaves this type and removes the others. What was written since the context was given stays.\n"
     "Exit code 1 when the key is still in conflict."},
    {"policy", "list", "", 0, 0, false, ctl_policy_list, "Policies by key prefix."},
    {"policy", "get", "KEY", 1, 1, false, ctl_policy_get, "The policy in force for a key."},
    {"policy", "set", "PREFIX siblings|newest", 2, 2, false, ctl_policy_set,
     "What keys with this prefix look like to readers when regions have written them at the same time. It is\n"
     "replicated. Storage is the same for both: nothing is lost by changing it."},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static const char options_help[] =
    "options:\n"
    "  -H, --host HOST[:PORT]   the node to ask (127.0.0.1:7101); [ADDRESS]:PORT for IPv6. status, digest,\n"
    "                           region list, region lag, region audit and wait-converged take several\n"
    "      --password-file FILE the node's password is the first line of FILE; else $SKERRYCTL_PASSWORD, if it is set\n"
    "      --public-key KEY     a region's public key, in hex or base64\n"
    "      --address HOST:PORT  a region's replication address; may be given several times\n"
    "      --keep WHAT          with siblings resolve the type that stays, with purge how many backups, with\n"
    "                           region rekey for how long the old key will do\n"
    "      --json               print one JSON document\n"
    "      --timeout SECONDS    how long to wait: for an answer (5 at most), with wait-converged for the regions\n"
    "                           to agree (60)\n"
    "  -v, --version            print the version, and stop\n"
    "  -h, --help               print this, or a command's help, and stop\n"
    "\n"
    "exit codes: 0 done, 1 the answer is no, 2 wrong arguments, 3 no connection or an error of the node\n";

static void print_name(const ctl_command *command)
{
    printf("%s%s%s%s%s", command->group ? command->group : "", command->group ? " " : "", command->name,
           *command->args ? " " : "", command->args);
}

static int help(void)
{
    printf("skerryctl " SK_VERSION ": asks and steers the nodes of a skerry cluster\n\n"
           "usage: skerryctl [options] COMMAND [arguments]\n\ncommands (COMMAND --help tells more):\n");
    for (int i = 0; i < COMMANDS; i++) {
        printf("  ");
        print_name(&commands[i]);
        puts("");
    }
    printf("\n%s", options_help);
    return CTL_OK;
}

static int help_command(const ctl_command *command)
{
    printf("usage: skerryctl [options] ");
    print_name(command);
    printf("\n\n%s\n\n%s", command->help, options_help);
    return CTL_OK;
}

static int usage(const char *format, const char *what)
{
    fprintf(stderr, "skerryctl: ");
    fprintf(stderr, format, what);
    fprintf(stderr, "\nTry 'skerryctl --help'.\n");
    return CTL_USAGE;
}

/* The command that the words name, and how many of them; NULL if there is none. */
static const ctl_command *find(int argc, char **argv, int *words)
{
    for (int i = 0; i < COMMANDS; i++) {
        const ctl_command *command = &commands[i];
        *words = command->group ? 2 : 1;
        if (argc < *words || (command->group && strcmp(argv[0], command->group) != 0)) continue;
        if (strcmp(argv[*words - 1], command->name) == 0) return command;
    }
    return NULL;
}

static char *read_password(const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0;
    if (!file || getline(&line, &room, file) < 0) {
        fprintf(stderr, "skerryctl: %s cannot be read: %s\n", path, errno ? strerror(errno) : "it is empty");
        free(line);
        line = NULL;
    }
    if (line) line[strcspn(line, "\r\n")] = 0;
    if (file) fclose(file);
    return line;
}

static int run(ctl_tool *ctl, int argc, char **argv, bool wants_help)
{
    int words;
    const ctl_command *command = find(argc, argv, &words);
    if (!command && wants_help) return help();
    if (!command && argc) return usage("there is no command '%s' of that form", argv[0]);
    if (!command) return usage("%s", "no command given");
    if (wants_help) return help_command(command);
    argc -= words;
    char name[64];
    snprintf(name, sizeof name, "%s%s%s", command->group ? command->group : "", command->group ? " " : "",
             command->name);
    if (argc < command->least || argc > command->most)
        return usage("wrong number of arguments; 'skerryctl %s --help' shows them", name);
    if (!command->many && ctl->node_count > 1) return usage("%s asks one node only", name);
    if (ctl->node_count == 0) ctl_node_add(ctl, "127.0.0.1");
    return command->run(ctl, argc, argv + words);
}

/* Takes the options out of argv. 0, or an exit code + 1 when there is nothing more to do. */
static int take_options(ctl_tool *ctl, int argc, char **argv, bool *wants_help)
{
    enum { PASSWORD_FILE = 256, JSON, TIMEOUT, KEEP, PUBLIC_KEY, ADDRESS };
    static const struct option options[] = {
        {"host", required_argument, NULL, 'H'},    {"password-file", required_argument, NULL, PASSWORD_FILE},
        {"json", no_argument, NULL, JSON},         {"timeout", required_argument, NULL, TIMEOUT},
        {"keep", required_argument, NULL, KEEP},   {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},          {"public-key", required_argument, NULL, PUBLIC_KEY},
        {"address", required_argument, NULL, ADDRESS}, {0},
    };
    char *end;
    for (int option; (option = getopt_long(argc, argv, "H:vh", options, NULL)) != -1;) {
        switch (option) {
        case 'H':
            if (ctl_node_add(ctl, optarg)) break;
            return 1 + usage("'%s' is not a HOST[:PORT], or there are too many", optarg);
        case PASSWORD_FILE:
            free(ctl->password);
            ctl->password = read_password(optarg);
            if (!ctl->password) return 1 + CTL_USAGE;
            break;
        case JSON: ctl->json = true; break;
        case TIMEOUT:
            ctl->timeout_s = strtod(optarg, &end);
            if (end != optarg && !*end && ctl->timeout_s > 0 && ctl->timeout_s < 1e6) break;
            return 1 + usage("'%s' is not a number of seconds above 0", optarg);
        case KEEP: ctl->keep = optarg; break;
        case PUBLIC_KEY: ctl->public_key = optarg; break;
        case ADDRESS:
            if (ctl->address_count == CTL_ADDRESSES_MAX) return 1 + usage("%s", "too many addresses");
            ctl->addresses[ctl->address_count++] = optarg;
            break;
        case 'v': puts("skerryctl " SK_VERSION); return 1 + CTL_OK;
        case 'h': *wants_help = true; break;
        default: return 1 + usage("%s", "wrong option");
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (sodium_init() < 0) return CTL_FAILED;
    static ctl_tool ctl;
    bool wants_help = false;
    int outcome = take_options(&ctl, argc, argv, &wants_help) - 1;
    const char *password = getenv("SKERRYCTL_PASSWORD");
    if (!ctl.password && password && *password) ctl.password = strdup(password);
    if (outcome < 0) outcome = run(&ctl, argc - optind, argv + optind, wants_help);
    for (int i = 0; i < ctl.node_count; i++) ctl_disconnect(&ctl.nodes[i]);
    free(ctl.password);
    if (fflush(stdout) != 0 && outcome == CTL_OK) outcome = CTL_FAILED;
    return outcome;
}

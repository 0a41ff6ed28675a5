/* skerryd: the arguments of a node. What it does is in node/node.c. */
#include "node/commands_doc.h"
#include "node/node.h"
#include "node/password.h"
#include "node/version.h"

#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

static const char help[] =
    "skerryd " SK_VERSION ": one region's node of a skerry cluster\n"
    "\n"
    "usage: skerryd --config FILE     run a node with this configuration\n"
    "       skerryd                   run one that is configured by SKERRY_ variables alone\n"
    "\n"
    "  -c, --config FILE     the configuration (YAML); every field can be overridden by the\n"
    "                        environment: listen.port by SKERRY_LISTEN_PORT, and so on\n"
    "      --check-config    say whether the configuration is valid, and stop; only the file and the environment\n"
    "                        are looked at, not the key, the data directory or whether ports are free\n"
    "      --print-config    print the whole configuration, defaults and environment included,\n"
    "                        without its secret, and stop\n"
    "      --example-config  print a configuration file with every field explained, and stop\n"
    "      --commands        print the table of all commands (the reference part of COMMANDS.md), and stop\n"
    "      --hash-password   read a password from the standard input (not shown on a terminal), print the\n"
    "                        argon2id string for listen.password_hash, and stop\n"
    "  -v, --version         print the version, and stop\n"
    "  -h, --help            print this, and stop\n"
    "\n"
    "signals: SIGTERM, SIGINT   stop: finish, write everything to disk, say goodbye to the peers (5 s at most);\n"
    "                           a second one stops at once and loses nothing that was acknowledged\n"
    "         SIGHUP            open log.file again, after it was rotated\n"
    "\n"
    "exit codes: 0  stopped as told, or the configuration is valid\n"
    "            1  a failure while running or starting (a port in use, a full disk), or stopped at once\n"
    "            2  wrong arguments\n"
    "            3  the configuration is not valid, or the key or log file cannot be used\n"
    "            4  the data directory cannot be used (locked, damaged, unreadable, another region's,\n"
    "               another format)\n";

extern char **environ;

typedef enum { RUN, CHECK, PRINT } action;

static int usage(const char *what)
{
    fprintf(stderr, "skerryd: %s\nTry 'skerryd --help'.\n", what);
    return SK_EXIT_USAGE;
}

static int print(sk_buf *text)
{
    bool good = fwrite(text->data, 1, text->len, stdout) == text->len && fflush(stdout) == 0;
    sk_buf_free(text);
    return good ? SK_EXIT_OK : SK_EXIT_RUNTIME;
}

/* A line from the standard input, without its end; -1 when there is none or it does not fit. */
static int read_line(char *line, size_t cap)
{
    struct termios shown, hidden;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &shown) == 0;
    if (terminal) {
        fputs("Password: ", stderr);
        hidden = shown;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    }
    char *got = fgets(line, (int)cap, stdin);
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
        fputc('\n', stderr);
    }
    if (!got) return -1;
    size_t len = strcspn(line, "\r\n");
    if (line[len] == 0 && len == cap - 1) return -1;
    line[len] = 0;
    return (int)len;
}

static int hash_password(void)
{
    char password[1024], hash[SK_PASSWORD_HASH_MAX];
    setvbuf(stdin, NULL, _IONBF, 0); /* no copy of it in stdio's buffer */
    int len = read_line(password, sizeof password), code = SK_EXIT_RUNTIME;
    if (len <= 0)
        fprintf(stderr, "skerryd: no password was given, or one of more than %zu bytes\n", sizeof password - 2);
    else if (!sk_password_hash(sk_bytes_of(password, (size_t)len), hash))
        fprintf(stderr, "skerryd: the password cannot be hashed: out of memory\n");
    else if (printf("%s\n", hash) > 0 && fflush(stdout) == 0)
        code = SK_EXIT_OK;
    sodium_memzero(password, sizeof password);
    return code;
}

static int act(action what, const char *file)
{
    sk_config config;
    sk_buf text = {0};
    char error[SK_CONFIG_ERROR_MAX];
    int code = SK_EXIT_OK;
    if (sk_config_load(file, environ, &config, error) != 0) {
        fprintf(stderr, "skerryd: %s\n", error);
        return SK_EXIT_CONFIG;
    }
    if (what == RUN) {
        code = sk_node_run(&config);
    } else if (what == CHECK) {
        puts("the configuration is valid");
    } else {
        sk_config_print(&config, &text);
        code = print(&text);
    }
    sk_config_free(&config);
    return code;
}

int main(int argc, char **argv)
{
    enum { OPTION_CHECK = 256, OPTION_PRINT, OPTION_EXAMPLE, OPTION_COMMANDS, OPTION_HASH };
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check-config", no_argument, NULL, OPTION_CHECK},
        {"print-config", no_argument, NULL, OPTION_PRINT},
        {"example-config", no_argument, NULL, OPTION_EXAMPLE},
        {"commands", no_argument, NULL, OPTION_COMMANDS},
        {"hash-password", no_argument, NULL, OPTION_HASH},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *file = NULL;
    action what = RUN;
    sk_buf text = {0};
    int option;
    if (sodium_init() < 0) return usage("libsodium cannot be used here");
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":c:vh", options, NULL)) != -1) {
        switch (option) {
        case 'c': file = optarg; break;
        case OPTION_CHECK: what = CHECK; break;
        case OPTION_PRINT: what = PRINT; break;
        case OPTION_EXAMPLE:
            sk_config_example(&text);
            return print(&text);
        case OPTION_COMMANDS: sk_commands_doc(&text); return print(&text);
        case OPTION_HASH: return hash_password();
        case 'v': return puts("skerryd " SK_VERSION) < 0;
        case 'h': return fputs(help, stdout) < 0;
        case ':': return usage("an option lacks its value");
        default: return usage("an unknown option was given");
        }
    }
    /* `skerryd --check-config FILE` is what hands type. */
    if (optind < argc && !file) file = argv[optind++];
    if (optind < argc) return usage("only one configuration file can be given");
    if (!file && !getenv("SKERRY_REGION")) return usage("no configuration: give --config FILE");
    return act(what, file);
}

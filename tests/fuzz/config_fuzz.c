/* A configuration file and environment variables, up to the first NUL and after it, one string each. Whatever they are,
 * there is a configuration or an error of one line; and what was accepted prints to YAML that loads to the same. */
#include "node/config.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { VARIABLES = 8 };

static void print(const sk_config *config, sk_buf *text)
{
    sk_config_print(config, text);
    sk_assert(!text->full);
}

static void check_round_trip(sk_config *config)
{
    char error[SK_CONFIG_ERROR_MAX];
    sk_config again;
    sk_buf first = {0}, second = {0};
    free(config->listen.password_hash); /* not printed, so a public address could not come back without this */
    config->listen.password_hash = NULL;
    config->listen.allow_public_without_password = true;
    print(config, &first);
    sk_assert(sk_config_parse("printed", sk_buf_view(&first), NULL, &again, error) == 0);
    print(&again, &second);
    sk_assert(sk_bytes_equal(sk_buf_view(&first), sk_buf_view(&second)));
    for (size_t i = 0; i < sk_config_count(); i++) {
        sk_buf value = {0};
        sk_assert(sk_config_get(config, sk_config_name(i), &value));
        sk_buf_byte(&value, 0);
        if (sk_config_is_live(i)) {
            sk_assert(sk_config_set(config, sk_config_name(i), (const char *)value.data, error));
        }
        sk_buf_free(&value);
    }
    sk_config_free(&again);
    sk_buf_free(&first);
    sk_buf_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[SK_CONFIG_ERROR_MAX];
    char *env[VARIABLES + 1] = {NULL}, *text = malloc(size + 1);
    sk_config config;
    if (!text) return 0;
    if (size) memcpy(text, data, size);
    text[size] = 0;
    size_t file = strlen(text), at = file + 1;
    for (int i = 0; i < VARIABLES && at < size; i++) {
        env[i] = text + at;
        at += strlen(env[i]) + 1;
    }
    if (sk_config_parse("skerry.yaml", sk_bytes_of(text, file), env, &config, error) == 0) {
        check_round_trip(&config);
        sk_config_free(&config);
    } else {
        size_t len = strnlen(error, sizeof error);
        sk_assert(len > 0 && len < sizeof error);
        sk_assert(strchr(error, '\n') == NULL);
    }
    free(text);
    return 0;
}

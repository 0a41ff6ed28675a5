#include "crdt/error.h"

const char *sk_error_text(int code)
{
    switch (code) {
    case SK_OK: return "no error";
#define SK_ERROR_TEXT(name, number, class, sentence) \
    case number: return sentence;
        SK_ERRORS(SK_ERROR_TEXT)
#undef SK_ERROR_TEXT
    default: return "unknown error";
    }
}

sk_class sk_error_class(int code)
{
    switch (code) {
    case SK_OK: return SK_CLASS_OK;
#define SK_ERROR_CLASS(name, number, class, sentence) \
    case number: return class;
        SK_ERRORS(SK_ERROR_CLASS)
#undef SK_ERROR_CLASS
    default: return SK_CLASS_FATAL;
    }
}

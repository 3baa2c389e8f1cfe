/*
 * The error table, turned into three lookups. A number outside the table can only come from a bug or from a cast, so it
 * reads as internal and broken: callers that branch on the class stay on the careful side.
 */
#include "common/base/err.h"

#include <stddef.h>

struct err_row {
    const char *name;
    const char *text;
    enum err_class class;
};

#define ERR_ROW(code, class_of, text_of) [code] = {#code, text_of, class_of},
static const struct err_row rows[ERR_COUNT] = {ERR_TABLE(ERR_ROW)};
#undef ERR_ROW

static const struct err_row *row_of(enum err e) {
    size_t index = (size_t)e; /* a negative value becomes huge */
    return index < ERR_COUNT ? &rows[index] : &rows[ERR_INTERNAL];
}

const char *err_name(enum err e) {
    return row_of(e)->name;
}

const char *err_text(enum err e) {
    return row_of(e)->text;
}

enum err_class err_class(enum err e) {
    return row_of(e)->class;
}

/* One option's value: text to field and back. The inner half of config.h; nobody else includes it. */
#ifndef SYS_CONFIG_VALUE_H
#define SYS_CONFIG_VALUE_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/sys/config.h"

/*
 * Sets the option's field in `options` from text (a string's old value is freed). False when text is not a value of the
 * option; then the reason and what would be right are appended to ret_why and the field is as it was.
 */
bool config_value_set(const struct option *o, void *options, const char *text, struct buf *ret_why);
void config_value_init(const struct option *o, void *options);  /* empty; the field's memory may hold anything */
void config_value_clear(const struct option *o, void *options); /* empty again; frees a string */
void config_value_copy(const struct option *o, void *to, const void *from); /* to's old value is freed */
bool config_value_equal(const struct option *o, const void *a, const void *b);
/* As it would be written in the file; a secret that is set as "(set)". */
void config_value_print(const struct option *o, const void *options, struct buf *to);
/* What may be written: "a whole number from 1 to 64", "a duration from 10ms to 5s, such as 250ms or 5s", ... */
void config_value_expected(const struct option *o, struct buf *to);

#endif

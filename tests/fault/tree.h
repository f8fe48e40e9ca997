/* A folder that stands for /sys and /dev in a scenario: plain files with a line of text each. */
#ifndef TESTS_FAULT_TREE_H
#define TESTS_FAULT_TREE_H

#include <stddef.h>
#include <sys/types.h>

extern char tree_root[];

/** tree_make() - an empty one. */
void tree_make(void);

/** tree_file() - its file @path, with @text, then @len bytes long if @len > 0. */
void tree_file(const char *path, const char *text, off_t len);

/** tree_drop() - with all that is in it. */
void tree_drop(void);

#endif

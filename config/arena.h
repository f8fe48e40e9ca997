/*
 * arena: memory that is freed all at once. Inside config/ only.
 *
 * A model and everything it points to lives in one arena, so no error path has anything to free
 * piece by piece. (glibc's obstack would do, but it ends the process when memory runs out.)
 */
#ifndef CONFIG_ARENA_H
#define CONFIG_ARENA_H

#include <stddef.h>

/** arena_alloc() - @n zeroed objects of @size bytes, or NULL. *@arena starts as NULL. */
__attribute__((warn_unused_result)) void *arena_alloc(void **arena, size_t n, size_t size);

/** arena_printf() - a formatted string in @arena, or NULL. */
__attribute__((warn_unused_result, format(printf, 2, 3))) char *arena_printf(void **arena,
									     const char *fmt, ...);

/** arena_free() - wipe and free everything in *@arena, which becomes NULL. */
void arena_free(void **arena);

#endif

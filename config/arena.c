#include "config/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct block {
	struct block *next;
	size_t len; /* of the whole */
	_Alignas(max_align_t) char data[];
};

void *arena_alloc(void **arena, size_t n, size_t size)
{
	size_t len;

	if (__builtin_mul_overflow(n, size, &len) ||
	    __builtin_add_overflow(len, sizeof(struct block), &len))
		return NULL;

	struct block *b = calloc(1, len);

	if (!b)
		return NULL;
	b->next = *arena;
	b->len = len;
	*arena = b;
	return b->data;
}

char *arena_printf(void **arena, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0)
		return NULL;

	char *text = arena_alloc(arena, (size_t)len + 1, 1);

	if (!text)
		return NULL;
	va_start(ap, fmt);
	vsnprintf(text, (size_t)len + 1, fmt, ap);
	va_end(ap);
	return text;
}

void arena_free(void **arena)
{
	struct block *b = *arena;

	while (b) {
		struct block *next = b->next;

		explicit_bzero(b, b->len); /* there may be keys in it */
		free(b);
		b = next;
	}
	*arena = NULL;
}

/* The main() of a fuzz target without libFuzzer: runs it once over each file it is given. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

static int replay(const char *path)
{
	FILE *f = fopen(path, "re");
	uint8_t *data = NULL;
	size_t size = 0, room = 0, n;

	if (!f) {
		perror(path);
		return 1;
	}
	do {
		if (size == room)
			data = realloc(data, room = room * 2 + 4096);
		n = data ? fread(data + size, 1, room - size, f) : 0;
		size += n;
	} while (n);
	fclose(f);
	/* of its own size exactly, so that reading beyond is seen */
	uint8_t *exact = malloc(size ? size : 1);

	memcpy(exact, data, size);
	free(data);
	(void)LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	return 0;
}

int main(int argc, char **argv)
{
	int failed = 0;

	for (int i = 1; i < argc; i++)
		failed += replay(argv[i]);
	printf("%d inputs\n", argc - 1 - failed);
	return failed || argc == 1;
}

#include "tests/fault/tree.h"

#include "tests/fuzz/asserts.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char tree_root[64];

void tree_make(void)
{
	strcpy(tree_root, "/var/tmp/nvmf-p2pd-tree-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(tree_root));
}

void tree_file(const char *path, const char *text, off_t len)
{
	char full[512], *slash;
	FILE *f;

	ck_assert_int_lt(snprintf(full, sizeof(full), "%s/%s", tree_root, path), (int)sizeof(full));
	for (slash = full + strlen(tree_root); (slash = strchr(slash + 1, '/')); *slash = '/') {
		*slash = '\0';
		ck_assert(mkdir(full, 0755) == 0 || errno == EEXIST);
	}
	f = fopen(full, "we");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert(len == 0 || truncate(full, len) == 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

void tree_drop(void)
{
	ck_assert_int_eq(nftw(tree_root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

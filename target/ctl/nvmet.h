/*
 * nvmet: requests that ask no daemon: the kernel target's configuration to export files and back.
 *
 * Each takes its own words, the first of which is the request's name, and returns the exit status:
 * 0 done, 1 refused, 2 wrong usage. getopt()'s state is theirs.
 */
#ifndef TARGET_CTL_NVMET_H
#define TARGET_CTL_NVMET_H

/** ctl_import_nvmet() - import-nvmet [--output FILE] [--force] [--list-keys] FILE */
int ctl_import_nvmet(int argc, char **argv);

/** ctl_export_nvmet() - export-nvmet [--config FILE] */
int ctl_export_nvmet(int argc, char **argv);

#endif

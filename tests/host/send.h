/* send: one capsule by hand, and its response in print. */
#ifndef TESTS_HOST_SEND_H
#define TESTS_HOST_SEND_H

#include "tests/host/nvme.h"

/** send_main() - @argv[0] is "send". Return: the exit code: 0 response with status 0; 1 another
 * status; 2 wrong usage; 3 no response. */
int send_main(const struct fab_host *fh, int argc, char **argv);

/** send_help() - the fields it knows. */
void send_help(void);

#endif

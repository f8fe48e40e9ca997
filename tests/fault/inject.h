/*
 * inject: the n-th call that can fail does.
 *
 * Programs of the test build are linked so that the calls in calls.h, made by our own code and by
 * no library, come here first. They are counted, and one of them fails as it may in life. Which
 * one: fault_arm(), or, for a daemon, the environment when it starts:
 *
 *      FAULT_AT=N           the N-th call fails; 0: none, they are only counted
 *      FAULT_AT=new         the first one fails that is made from where none has failed yet, which
 * is told by three return addresses; FAULT_TRIED=FILE remembers it FAULT_COUNT=N        and the N-1
 * calls after it too (1) FAULT_KINDS=A,B      only calls of these kinds are counted: memory, map,
 * descriptor, files, threads, uring, verbs, posts, crypto, json, http, nvme (all) FAULT_REPORT=FILE
 * one line to FILE at each injection and at exit (standard error)
 *
 * SIGRTMIN with a value N (kill -s RTMIN -q N) reports how many calls were counted, and starts
 * again with that N; 2147483647 is "new".
 *
 * Any thread.
 */
#ifndef TESTS_FAULT_INJECT_H
#define TESTS_FAULT_INJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** fault_arm() - count from 1, and let the call @at and the @n - 1 after it fail. */
void fault_arm(uint64_t at, uint64_t n);

/** fault_disarm() - no more. Return: how many calls were counted. */
uint64_t fault_disarm(void);

/** fault_pause() - calls of the test itself are not counted until fault_pause(false). */
void fault_pause(bool pause);

/** fault_name() - which function failed last; "" if none did since fault_arm(). */
const char *fault_name(void);

/** fault_root() - what the program looks for below /sys/ and /dev/ is found below @folder, which is
 * the caller's; NULL: it is where it is. */
void fault_root(const char *folder);

/** fault_only() - count these kinds only, a list as FAULT_KINDS; NULL: all. Return: false: there is
 * no such kind. */
bool fault_only(const char *kinds);

#endif

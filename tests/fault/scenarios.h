/* Scenarios of test_faults in files of their own: what is tried while calls fail, and what must be
 * so afterwards. */
#ifndef TESTS_FAULT_SCENARIOS_H
#define TESTS_FAULT_SCENARIOS_H

void auth_faulty(void);
void auth_verify(void);

#endif

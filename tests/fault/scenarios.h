/* Scenarios of test_faults in files of their own: what is tried while calls fail, and what must be
 * so afterwards. */
#ifndef TESTS_FAULT_SCENARIOS_H
#define TESTS_FAULT_SCENARIOS_H

/* scenario_auth.c */
void auth_faulty(void);
void auth_verify(void);

/* scenario_p2p.c */
void p2p_prepare(void);
void p2p_faulty(void);
void p2p_verify(void);
void p2p_finish(void);
void scattered_prepare(void);
void scattered_faulty(void);
void scattered_verify(void);
void follow_faulty(void);
void follow_verify(void);
void hotplug_faulty(void);
void hotplug_verify(void);

/* scenario_metrics.c */
void metrics_prepare(void);
void metrics_faulty(void);
void metrics_verify(void);
void metrics_finish(void);

/* scenario_topology.c */
void topology_prepare(void);
void topology_faulty(void);
void topology_verify(void);

/* scenario_journal.c */
void journal_prepare(void);
void journal_faulty(void);
void journal_verify(void);
void journal_finish(void);

/* scenario_block.c */
void comes_prepare(void);
void comes_faulty(void);
void lost_prepare(void);
void lost_faulty(void);
void block_verify(void);
void block_finish(void);

/* scenario_passthru.c */
void passthru_start_prepare(void);
void passthru_start_faulty(void);
void passthru_start_verify(void);
void passthru_prepare(void);
void passthru_faulty(void);
void passthru_verify(void);
void passthru_finish(void);

#endif

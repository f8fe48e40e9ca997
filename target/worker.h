/*
 * worker: one thread for what would hold up the control thread for milliseconds and must not
 * (Diffie-Hellman with large groups, files that must be on the disk). It works off a queue in its
 * order, at normal priority: who asks for much only waits longer.
 */
#ifndef TARGET_WORKER_H
#define TARGET_WORKER_H

#include "target/reactor.h"

struct worker;

/* Embedded; the submitter's again once done() is called. */
struct task {
	void (*run)(struct task *t);  /* in the worker's thread */
	void (*done)(struct task *t); /* after it, in the control thread */
	/* private: */
	struct message message;
	STAILQ_ENTRY(task) entry;
};

/** worker_create() - start the thread. @control: where done() is called. Return: 0 or negative
 * errno. */
__attribute__((warn_unused_result)) int worker_create(struct reactor *control,
						      struct worker **ret_worker);

/** worker_destroy() - end the thread. No task may be left. NULL is fine. */
void worker_destroy(struct worker *w);

/** worker_flush() - wait until everything that was submitted was run; done() may be still to come.
 * Control thread. NULL is fine. */
void worker_flush(struct worker *w);

/** worker_submit() - have @task run. Control thread. */
void worker_submit(struct worker *w, struct task *task);

#endif

#include "target/worker.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>

struct worker {
	struct reactor *control;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t more, idle;
	bool busy;
	STAILQ_HEAD(task_list, task) list;
	bool quitting;
};

static void done(struct message *m)
{
	struct task *task = (void *)((uint8_t *)m - offsetof(struct task, message));

	task->done(task);
}

/* NULL: it is over. */
static struct task *next_task(struct worker *w)
{
	struct task *task;

	pthread_mutex_lock(&w->lock);
	w->busy = false;
	if (STAILQ_EMPTY(&w->list))
		pthread_cond_signal(&w->idle);
	while (!(task = STAILQ_FIRST(&w->list)) && !w->quitting)
		pthread_cond_wait(&w->more, &w->lock);
	if (task)
		STAILQ_REMOVE_HEAD(&w->list, entry);
	w->busy = task != NULL;
	pthread_mutex_unlock(&w->lock);
	return task;
}

static void *run_thread(void *arg)
{
	struct worker *w = arg;
	struct task *task;

	(void)pthread_setname_np(pthread_self(), "worker");
	(void)setpriority(PRIO_PROCESS, 0,
			  0); /* this thread's; not its creator's, if that is higher */
	while ((task = next_task(w))) {
		task->run(task);
		task->message.run = done;
		reactor_post(w->control, &task->message);
	}
	return NULL;
}

int worker_create(struct reactor *control, struct worker **ret_worker)
{
	struct worker *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->control = control;
	STAILQ_INIT(&w->list);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->more, NULL);
	pthread_cond_init(&w->idle, NULL);
	err = thread_create(&w->thread, run_thread, w);
	if (err) {
		pthread_cond_destroy(&w->more);
		pthread_cond_destroy(&w->idle);
		pthread_mutex_destroy(&w->lock);
		free(w);
		return err;
	}
	*ret_worker = w;
	return 0;
}

void worker_destroy(struct worker *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	assert(STAILQ_EMPTY(&w->list));
	w->quitting = true;
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->more);
	pthread_cond_destroy(&w->idle);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

void worker_flush(struct worker *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	while (w->busy || !STAILQ_EMPTY(&w->list))
		pthread_cond_wait(&w->idle, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

void worker_submit(struct worker *w, struct task *task)
{
	pthread_mutex_lock(&w->lock);
	STAILQ_INSERT_TAIL(&w->list, task, entry);
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
}

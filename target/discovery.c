/*
 * The discovery log page: Base 2.1, 5.1.12.3.1; the RDMA fields: NVMe over RDMA transport 1.0.
 *
 * Each discovery controller keeps the page as its host sees it, and its generation counter is one
 * more whenever that changes. So a host that reads it in pieces either gets the pieces of one page
 * or finds another counter in the header; and a change that it may not see changes nothing.
 */
#include "target/core.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnvme.h>
#include <stdlib.h>
#include <string.h>

/* A wildcard port is reached where the asking host reached it. */
static const char *shown_address(const struct config_port *port, const struct nvmf_queue *q)
{
	if (strcmp(port->address, "0.0.0.0") == 0 || strcmp(port->address, "::") == 0)
		return q->local_address;
	return port->address;
}

static void fill_entry(struct nvmf_disc_log_entry *e, uint8_t subtype, const char *nqn,
		       const char *address, const char *service, uint16_t port_id)
{
	e->trtype = NVMF_TRTYPE_RDMA;
	e->adrfam = strchr(address, ':') ? NVMF_ADDR_FAMILY_IP6 : NVMF_ADDR_FAMILY_IP4;
	e->subtype = subtype;
	e->treq = NVMF_TREQ_NOT_SPECIFIED;
	e->portid = htole16(port_id);
	e->cntlid = htole16(CNTLID_DYNAMIC);
	e->asqsz = htole16(ADMIN_QUEUE_DEPTH);
	put_padded(e->trsvcid, sizeof(e->trsvcid), service, ' ');
	put_padded(e->traddr, sizeof(e->traddr), address, ' ');
	put_padded(e->subnqn, sizeof(e->subnqn), nqn, '\0');
	e->tsas.rdma.qptype = NVMF_RDMA_QPTYPE_CONNECTED;
	e->tsas.rdma.prtype = NVMF_RDMA_PRTYPE_NOT_SPECIFIED;
	e->tsas.rdma.cms = NVMF_RDMA_CMS_RDMA_CM;
}

/* Does asking at another port bring the same answers? Not if it has other referrals. */
static bool ports_answer_alike(const struct config *conf)
{
	for (size_t i = 0; i < conf->nreferrals; i++)
		if (conf->referrals[i].nports != conf->nports)
			return false;
	return conf->nports > 1;
}

static void fill_port(struct nvmf_disc_log_entry *e, const struct controller *c,
		      const struct subsystem *s, const struct config_port *port)
{
	fill_entry(e, s->discovery ? NVME_NQN_CURR : NVME_NQN_NVME, s->nqn,
		   shown_address(port, c->admin), port->service, port->id);
	e->treq |= NVMF_TREQ_DISABLE_SQFLOW;
	if (subsystem_is_static(s))
		e->cntlid = htole16(CNTLID_ANY_STATIC);
	if (!s->discovery)
		return;
	e->eflags = htole16(NVMF_DISC_EFLAGS_EPCSD);
	if (ports_answer_alike(c->target->conf))
		e->eflags |= htole16(NVMF_DISC_EFLAGS_DUPRETINFO);
}

static bool is_told_on(const struct config_referral *r, uint16_t port_id)
{
	for (size_t i = 0; i < r->nports; i++)
		if (r->ports[i] == port_id)
			return true;
	return false;
}

/* Entries for this host; with @entries NULL only counted. */
static size_t fill(struct nvmf_disc_log_entry *entries, const struct controller *c)
{
	const struct target *t = c->target;
	const struct config *conf = t->conf;
	size_t n = 0;

	for (size_t i = 0; i < t->nsubsystems; i++) {
		const struct subsystem *s = t->subsystems[i];

		if (s->dying || !subsystem_allows(s, c->hostnqn))
			continue;
		for (size_t p = 0; p < t->conf->nports; p++) {
			if (!subsystem_on_port(s, t->conf->ports[p].id))
				continue;
			if (entries)
				fill_port(&entries[n], c, s, &t->conf->ports[p]);
			n++;
		}
	}
	for (size_t i = 0; i < conf->nreferrals; i++) {
		const struct config_referral *r = &conf->referrals[i];

		if (!is_told_on(r, c->port_id))
			continue;
		if (entries)
			fill_entry(&entries[n], NVME_NQN_DISC, r->nqn, r->address, r->service,
				   r->port_id);
		n++;
	}
	return n;
}

static struct nvmf_disc_log_entry *create_entries(const struct controller *c, size_t *ret_n)
{
	struct nvmf_disc_log_entry *entries;

	*ret_n = fill(NULL, c);
	entries = calloc(*ret_n ? *ret_n : 1, sizeof(*entries));
	if (entries)
		fill(entries, c);
	return entries;
}

int discovery_init(struct controller *c)
{
	restart_need_discovery(c->target);
	c->genctr = c->target->discovery_genctr;
	c->entries = create_entries(c, &c->nentries);
	return c->entries ? 0 : -ENOMEM;
}

void discovery_fini(struct controller *c)
{
	free(c->entries);
}

static void look_again(struct controller *c)
{
	size_t n;
	struct nvmf_disc_log_entry *entries = create_entries(c, &n);

	if (!entries) /* told at the next change */
		return;
	if (n == c->nentries && memcmp(entries, c->entries, n * sizeof(*entries)) == 0) {
		free(entries);
		return;
	}
	free(c->entries);
	c->entries = entries;
	c->nentries = n;
	c->genctr++;
	controller_event(c, EVENT_DISCOVERY_CHANGED);
}

/* The target's counter is ahead of all controllers' (or equal), so that a host that connects again
 * never finds an old number on a new page. */
void target_discovery_changed(struct target *t)
{
	t->discovery_genctr++;
	restart_save_discovery(t); /* before anybody can see it */
}

void target_discovery_kept(struct target *t)
{
	struct controller *c;

	LIST_FOREACH (c, &t->subsystems[0]->controllers, entry)
		if (c->admin)
			look_again(c);
}

static bool is_local(const struct nvmf_disc_log_entry *e, uint16_t port_id)
{
	return e->subtype != NVME_NQN_DISC && le16toh(e->portid) == port_id;
}

void *discovery_log(const struct controller *c, bool port_local, size_t *ret_len)
{
	struct nvmf_discovery_log *log =
		calloc(1, sizeof(*log) + c->nentries * sizeof(log->entries[0]));
	size_t n = 0;

	if (!log)
		return NULL;
	for (size_t i = 0; i < c->nentries; i++)
		if (!port_local || is_local(&c->entries[i], c->port_id))
			log->entries[n++] = c->entries[i];
	log->genctr = htole64(c->genctr);
	log->numrec = htole64(n);
	*ret_len = sizeof(*log) + n * sizeof(log->entries[0]);
	return log;
}

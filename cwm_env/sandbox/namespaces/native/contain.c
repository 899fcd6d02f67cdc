/* How a fresh process becomes a sandbox: one list of steps, read from top to bottom. */

#include "native.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static void wait_for_ids(struct plan *plan) {
	static struct message opened SMALL;
	if (!receive(plan->gate, &opened))
		_exit(1);
	close(plan->gate);
	plan->trees = opened.descriptors, plan->tree_count = opened.count;
	opened.count = 0; /* they are the plan's now */
	forget(&opened);
}

/* What nobody could map for us: with one id, the files are ours as they are. */
static void open_own_trees(struct plan *plan) {
	static const char *const kinds[] = {"layer", "upper", "mount"};
	static int trees[MOST_DESCRIPTORS];
	int count = 0;
	for (size_t kind = 0; kind < LENGTH(kinds); kind++)
		for (const char *path = NULL; count < MOST_DESCRIPTORS && (path = next(plan->request, kinds[kind], path));)
			if ((trees[count++] = clone_tree(path, !strcmp(kinds[kind], "mount"))) < 0)
				fail(path);
	plan->trees = trees, plan->tree_count = count;
}

/* Nothing else in the sandbox may look into this process, and it dies with the spawner. */
static void stand_apart(const struct plan *plan) {
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	struct pollfd spawner = {plan->lifeline, POLLIN, 0};
	if (poll(&spawner, 1, 0)) /* it died before the line above */
		_exit(1);
	close(plan->lifeline);
	for (int target = 0; target < 3; target++) { /* what the spawner's streams were is nothing to a sandbox */
		int null = open("/dev/null", O_RDWR);
		dup2(null, target);
		close(null);
	}
}

void contain(struct plan *plan) {
	report_failures_to(plan->control);
	if (!join_groups())
		fail("join control groups");
	close_groups();
	wait_for_ids(plan);
	become_root();
	if (!plan->tree_count)
		open_own_trees(plan);
	if (sethostname("sandbox", 7))
		fail("sethostname");
	if (!plan->share_network)
		raise_loopback();
	plan->listener = (int)number(plan->request, "proxy_port", -1);
	if (plan->listener >= 0)
		plan->listener = listen_on_loopback(plan->listener);
	build_root(plan);
	if (unshare(CLONE_NEWCGROUP))
		fail("unshare cgroup");
	limit_resources(plan->request);
	drop_capabilities();
	no_new_privileges();
	stand_apart(plan);
	umask(022);
	forget(plan->request);
	serve(plan);
}

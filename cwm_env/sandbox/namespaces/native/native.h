/* What the files of the spawner share: one file per facility of the kernel, composed by contain.c. */

#ifndef CWM_NATIVE_H
#define CWM_NATIVE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define NORETURN __attribute__((noreturn))
#define LENGTH(array) (sizeof(array) / sizeof(*(array)))

/* Of what every sandbox writes: side by side, or each would dirty a page of its own between large buffers. */
#define SMALL __attribute__((section(".data")))

/* memory.c */

/* Zeroed pages, which go back to the kernel at once when they are given back. NULL where there are none. */
void *take_pages(size_t size);
void give_pages(void *pages, size_t size);
/* Pages that no process forked from now on will have: with them, each would keep a copy of what was written since. */
void keep_from_children(void *pages, size_t size);
/* Give back what deeper calls than the caller's have used of the stack. */
void let_go_of_stack(void);

/* wire.c: messages of `name=value` fields, each ended by a NUL, with descriptors beside them. */

#define MOST_DESCRIPTORS 250

struct message {
	char *data; /* pages of its own, given back by forget() */
	size_t size;
	int descriptors[MOST_DESCRIPTORS];
	int count;
};

/* Receive one message. False when the other side is gone or talks nonsense. */
bool receive(int sock, struct message *message);
/* Free the text and close the descriptors that nobody has taken (by setting them to -1). */
void forget(struct message *message);
/* The first value of a field, or NULL. */
const char *field(const struct message *message, const char *name);
/* The value of a field as a number, or `otherwise`. */
long long number(const struct message *message, const char *name, long long otherwise);
/* The next value of a repeated field after `after` (NULL at first), or NULL. */
const char *next(const struct message *message, const char *name, const char *after);
/* Send `text`, `size` bytes of fields. False when the other side is gone. */
bool send_fields(int sock, const char *text, size_t size, const int *descriptors, int count);
/* Send one field with a number as its value. */
bool send_number(int sock, const char *name, long long value, const int *descriptors, int count);
/* Answer a request that only asks for its own `echo` back: a client that has taken over the socket of one that died
 * so knows where the answers to its own requests begin. */
bool send_echo(int sock, const struct message *request);
/* Send the fields `error` (the step and the system's word for `code`) and `errno`. */
bool send_error(int sock, const char *step, int code);

/* contain.c: a fresh process becomes a sandbox. */

struct plan {
	struct message *request; /* forgotten once the sandbox stands */
	int control;   /* where success or failure is reported, and requests come from */
	int gate;      /* gives the detached mounts, once the ids are mapped */
	int lifeline;  /* hangs up when the spawner dies */
	int *trees;    /* detached mounts: the layers, lowest first, the upper directory if there is one, the host's */
	int tree_count;
	bool share_network;
	int written[4];  /* the directories that hold what the sandbox writes: see WRITTEN */
	int listener;    /* where the proxy will accept connections, or -1 */
	int first_private; /* tools close descriptors from this one on; 0: none */
};

/* Relative to the stage that filesystem.c builds, and so named in the archive that a fork copies. */
#define WRITTEN {"writable/upper", "tmp", "run", "shm"}

void contain(struct plan *plan) NORETURN;

/* failure.c */

/* Where the two that follow report to. */
void report_failures_to(int control);
/* Report that a step of the set-up failed, by errno, and end. */
void fail(const char *step) NORETURN;
/* The same where the image is to blame. */
void fail_image(const char *path, const char *why) NORETURN;

/* ids.c */

#define ID_RANGE 65536

struct user {
	uid_t uid;
	gid_t gid;
	gid_t groups[64];
	int group_count;
	char home[256];
};

bool write_maps(pid_t pid, long long base);
void become_root(void);
bool many_ids(void);
/* NULL, or why there is no such user. */
const char *look_up(const char *name, struct user *user);
bool become(const struct user *user);
bool write_file(const char *path, const char *text);
ssize_t read_file(const char *path, char *buffer, size_t size);

/* mounts.c */

int clone_tree(const char *path, bool recursive);
bool map_tree(int tree, int userns);
void set_attributes(int directory, const char *path, uint64_t attributes, bool recursive);
void attach_tree(int tree, const char *target);
void mount_or_fail(const char *source, const char *target, const char *kind, unsigned long flags, const char *options);
/* `root/path`, made if it is missing; an image with a link on the way is refused. */
const char *mount_point(const char *path, bool directory);
void bind_read_only(const char *source, const char *target);

/* kernelfs.c */

void mount_proc(const struct message *request);
void open_devices(int *devices);
void mount_devices(const int *devices);

/* filesystem.c */

void build_root(struct plan *plan);

/* network.c */

void raise_loopback(void);
int listen_on_loopback(int port);

/* privileges.c */

void limit_resources(const struct message *request);
void limit_program(void);
void drop_capabilities(void);
void no_new_privileges(void);

/* seccomp.c */

bool deny_system_calls(bool may_map);

/* cgroup.c */

void cgroups_are_in(char **homes, int count);
/* Make a sandbox's groups with their limits, and keep them open until close_groups(). */
bool make_groups(const char *id, const struct message *request);
/* What clone3 takes, or -1 where a process has to join by itself. */
int group_to_be_born_in(void);
bool join_groups(void);
void close_groups(void);
/* False where one is still busy: try again later. */
bool remove_groups(const char *id);

/* init.c */

void serve(struct plan *plan) NORETURN;
/* The parts of it, for who has another way to its client: a descriptor that says when a child has died; take note of
 * the dead; do what is asked for, and answer on the plan's control socket. */
int watch_deaths(void);
void reap_started(void);
void answer(struct plan *plan, const struct message *request);

/* container.c: pid 1 of another engine's container, asked over its standard streams. */

void serve_container(void) NORETURN;

/* program.c: what pid 1 starts. */

/* Start what `request` asks for and answer with its pid and streams. The write end of its exit status, or -1. */
int start_program(const struct plan *plan, const struct message *request, pid_t *pid);

/* shell_loop.c: the builtin with which a bash becomes a session's. */

/* Once, before anything is forked. */
void hold_shell_loop(void);
/* Open it as `descriptor`, for a program to inherit. False where there is none. */
bool give_shell_loop(int descriptor);

/* processes.c */

int kill_processes(const struct message *request, void (*reap)(void));
struct work {
	long long cpu_us; /* CPU time, at the resolution of the kernel's clock tick */
	int full;         /* how many hold all the descriptors that they may; -1 where the kernel does not tell */
};

struct work work_of_processes(void);
bool pause_processes(void);
void resume_processes(void);

/* tools.c, pack.c and unpack.c: work on files, done by a process of the sandbox. */

int run_tool(const struct plan *plan, int count, char **arguments);
/* Pack what `base` of `directory` is, called `name` in the archive; `exactly` where `unpack` will read it, with rules of
 * trust. 0, or -1. */
int pack(int directory, const char *base, const char *name, int out, bool exactly);
int pack_end(int out);

struct unpack_rules {
	long long bytes, entries; /* what is refused beyond */
	bool trusted;             /* a fork's own archive: owners, all modes and overlay's marks are kept */
	uid_t uid;
	gid_t gid;
};

/* NULL, or what was wrong, with errno set. */
const char *unpack(int in, int directory, const struct unpack_rules *rules);
bool write_all(int descriptor, const void *data, size_t size);
bool read_all(int descriptor, void *data, size_t size);

#endif

/* A builtin that bash loads (`enable -f`), and which makes it a session's: reads a text, evaluates it, reports.
 *
 * session/protocol.py is the other side. What bash itself would read from standard input and say on standard error (the
 * command channel, the status channel) moves to descriptors that no program inherits, and comes back when bash leaves
 * the loop for its top level, as it does at SIGINT; its prompt then brings it here again.
 *
 * It asks for nothing but what bash exports and any C library has, with the types that they have had since bash 4.0,
 * so that one file serves every bash there is. */

#include <stddef.h>

typedef struct word_desc { char *word; int flags; } word_desc;
typedef struct word_list { struct word_list *next; word_desc *word; } word_list;

struct builtin {
	const char *name;
	int (*function)(word_list *);
	int flags;
	const char *const *long_doc;
	const char *short_doc, *handle;
};

enum { BUILTIN_ENABLED = 1, EX_USAGE = 2 };
enum { SEVAL_NOHIST = 4, SEVAL_NOFREE = 8, SEVAL_RESETLINE = 16 };

/* bash */
extern int last_command_exit_value, parse_and_execute_level, indirection_level, terminating_signal;
extern volatile int interrupt_state;
extern char *get_string_value(const char *name);
extern int parse_and_execute(char *text, const char *name, int flags);
extern void *bind_variable(const char *name, char *value, int flags);
extern void *save_pipestatus_array(void);
extern void restore_pipestatus_array(void *saved);
extern void begin_unwind_frame(const char *tag);
extern void add_unwind_protect(void (*undo)(void *), void *argument);
extern void run_unwind_frame(const char *tag);
extern void run_pending_traps(void);
extern void termsig_handler(int number);
extern void exit_shell(int code) __attribute__((noreturn));

/* the C library */
extern int access(const char *path, int mode);
extern int close(int descriptor);
extern int dup2(int from, int to);
extern int fcntl(int descriptor, int what, ...);
extern void free(void *memory);
extern void *malloc(size_t size);
extern void *memcpy(void *to, const void *from, size_t size);
extern int open(const char *path, int flags, ...);
extern long read(int descriptor, void *to, size_t size);
extern int setvbuf(void *stream, char *buffer, int mode, size_t size);
extern int snprintf(char *to, size_t size, const char *format, ...);
extern char *strdup(const char *text);
extern size_t strlen(const char *text);
extern long write(int descriptor, const void *from, size_t size);
extern int getpid(void);
extern int *__errno_location(void);
extern void *stdout;

enum { EINTR = 4, EBADF = 9, WHOLE_BUFFERS = 0, LINES = 1, F_DUPFD_CLOEXEC = 1030, O_RDWR = 2, SIGINT = 2 };
enum { FIRST = 250, LOWEST = 10 }; /* where descriptors of ours lie: above what scripts use, below the least usual limit */

/* A request begins with what its answer carries, whose first character says how it is run, and the text's length. */
enum { NONCE = 9, HEADER = NONCE + 9, SMALL = 4096 };
enum { COMMAND = 'C', PRIVATE = 'P' }; /* else there is nothing to run */

static int shell; /* the process that the channels are for: not the subshells, which have copies of all this */
static int commands, status_channel, null;
static int their_input, their_errors = -1; /* what 0 and 2 are for commands, while bash is at its top level */
static int status;                         /* exit code of the last command */
static int running;                        /* a command, which has brought bash to its top level if we begin anew */
static char nonce[NONCE + 1], *flag_file, *large;
static char held[SMALL]; /* what was read and not yet taken */
static size_t held_from, held_to;

/* A copy that no program inherits; -1 for one that is closed, or where the agent has left no room for another. */
static int kept(int descriptor) {
	int copy = fcntl(descriptor, F_DUPFD_CLOEXEC, FIRST);
	return copy >= 0 || *__errno_location() == EBADF ? copy : fcntl(descriptor, F_DUPFD_CLOEXEC, LOWEST);
}

static void put_back(int saved, int descriptor) {
	if (saved < 0) {
		close(descriptor);
		return;
	}
	dup2(saved, descriptor);
	close(saved);
}

static void enter(void) {
	put_back(their_input, 0);
	put_back(their_errors, 2);
}

static void leave(void *ignored) {
	(void)ignored;
	their_input = kept(0);
	their_errors = kept(2);
	dup2(commands, 0);
	dup2(status_channel, 2);
}

static void say(const char *data, size_t size) {
	while (size) {
		long written = write(status_channel, data, size);
		if (written < 0 && *__errno_location() != EINTR)
			exit_shell(status); /* nobody listens any more */
		if (written > 0)
			data += written, size -= (size_t)written;
	}
}

static void report(void) {
	char frame[SMALL];
	const char *cwd = get_string_value("PWD");
	size_t length = cwd ? strlen(cwd) : 0;
	int flagged = flag_file && !access(flag_file, 0);
	size_t size = (size_t)snprintf(frame, sizeof frame, "%c%s %d %d ", 0, nonce, status & 255, flagged);
	if (size + length < sizeof frame) {
		memcpy(frame + size, cwd ? cwd : "", length + 1);
		say(frame, size + length + 1);
	} else {
		say(frame, size);
		say(cwd, length + 1);
	}
}

/* A signal has come while nothing runs: an interrupt came too late, the rest is as bash would have it. */
static void attend(void) {
	interrupt_state = 0;
	if (terminating_signal)
		termsig_handler(terminating_signal);
	run_pending_traps();
}

static size_t receive(char *to, size_t size) {
	for (;;) {
		long count = read(commands, to, size);
		if (count > 0)
			return (size_t)count;
		if (!count || *__errno_location() != EINTR)
			exit_shell(status); /* the end of the channel is the end of the shell */
		attend();
	}
}

static void take(char *to, size_t size) {
	while (size) {
		size_t here = held_to - held_from;
		if (!here && size >= sizeof held) {
			here = receive(to, size);
		} else {
			if (!here) {
				held_from = 0;
				held_to = here = receive(held, sizeof held);
			}
			if (here > size)
				here = size;
			memcpy(to, held + held_from, here);
			held_from += here;
		}
		to += here, size -= here;
	}
}

static size_t number(const char *digits, size_t count) {
	size_t value = 0;
	while (count--)
		value = value * 10 + (size_t)(*digits++ - '0');
	return value;
}

static int evaluate(char *text) {
	indirection_level = 0; /* so that `set -x` prints one plus, as at a prompt */
	return parse_and_execute(text, "-c", SEVAL_NOHIST | SEVAL_NOFREE | SEVAL_RESETLINE);
}

static struct {
	int output, errors;
	void *pipestatus;
	char *last_argument;
} theirs; /* while a text of the session's own runs */

static void end_private(void *ignored) {
	(void)ignored;
	setvbuf(stdout, NULL, LINES, 0); /* as bash has it */
	put_back(theirs.output, 1);
	put_back(theirs.errors, 2);
	if (theirs.pipestatus)
		restore_pipestatus_array(theirs.pipestatus);
	if (theirs.last_argument)
		bind_variable("_", theirs.last_argument, 0);
	free(theirs.last_argument);
}

/* The session's own: it speaks on the status channel, and changes nothing that the next command would notice. */
static void evaluate_private(char *text) {
	const char *last_argument = get_string_value("_");
	if ((theirs.output = kept(1)) < 0 && *__errno_location() != EBADF)
		return;
	if ((theirs.errors = kept(2)) < 0 && *__errno_location() != EBADF) {
		close(theirs.output);
		return;
	}
	theirs.pipestatus = save_pipestatus_array();
	theirs.last_argument = last_argument ? strdup(last_argument) : NULL;
	begin_unwind_frame("cwm private");
	add_unwind_protect(end_private, NULL);
	dup2(status_channel, 1);
	dup2(null, 2);
	setvbuf(stdout, NULL, WHOLE_BUFFERS, 0); /* a state is two hundred lines */
	evaluate(text);
	run_unwind_frame("cwm private");
}

static void evaluate_next(void) {
	static char small[SMALL];
	char header[HEADER], *text = small;
	take(header, HEADER);
	size_t size = number(header + NONCE, HEADER - NONCE);
	free(large);
	large = NULL;
	if (size >= sizeof small && !(text = large = malloc(size + 1)))
		exit_shell(status);
	take(text, size);
	text[size] = 0;
	memcpy(nonce, header, NONCE);
	last_command_exit_value = status;
	if (*header == COMMAND) {
		running = 1;
		status = evaluate(text);
		running = 0;
	} else if (*header == PRIVATE)
		evaluate_private(text);
}

/* Called with the nonce of what is to be answered next, and the first time with the flag file, if there is one. */
static int prepare(const word_list *arguments) {
	const char *given = arguments->word->word;
	if (strlen(given) != NONCE)
		return EX_USAGE;
	memcpy(nonce, given, NONCE);
	if (running)
		status = 128 + SIGINT;
	running = 0;
	if (commands)
		return 0;
	shell = getpid();
	commands = kept(0);
	status_channel = kept(2);
	int opened = open("/dev/null", O_RDWR);
	null = kept(opened);
	close(opened);
	their_input = kept(null);
	their_errors = kept(1);
	if (arguments->next)
		flag_file = strdup(arguments->next->word->word);
	return commands < 0 || status_channel < 0 || null < 0;
}

static int loop(word_list *arguments) {
	if (arguments)
		return prepare(arguments);
	if (getpid() != shell || parse_and_execute_level > 1) /* bash's prompt is the first level */
		return EX_USAGE;
	if (running)
		status = last_command_exit_value;
	running = 0;
	enter();
	begin_unwind_frame("cwm");
	add_unwind_protect(leave, NULL);
	for (;;) {
		interrupt_state = 0; /* bash counts a child's death by it, too: what ran has ended, and nothing else is meant */
		report();
		evaluate_next();
	}
}

static const char *const nothing[] = {NULL};

struct builtin __cwm_struct = {"__cwm", loop, BUILTIN_ENABLED, nothing, "__cwm", NULL};

/* The header of a tar archive, as POSIX and GNU have it. */

#ifndef CWM_TAR_H
#define CWM_TAR_H

#include <time.h>

#define BLOCK 512
#define LONG_NAME "././@LongLink"

struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
	char magic[8], user[32], group[32], major[8], minor[8], prefix[155], padding[12];
};

_Static_assert(sizeof(struct header) == BLOCK, "a header is one block");

static inline unsigned sum_of(const struct header *header) {
	const unsigned char *bytes = (const unsigned char *)header;
	unsigned sum = 0;
	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= offsetof(struct header, checksum) && i < offsetof(struct header, type) ? ' ' : bytes[i];
	return sum;
}

#define LONGEST 65536

struct entry {
	struct header header;
	char name[LONGEST], link[LONGEST];
	bool long_name, long_link;
	char *pax;
	size_t pax_size;
	const char *map;          /* of a file with holes, or NULL */
	unsigned long long size;  /* bytes that follow in the archive */
	unsigned long long whole; /* bytes of the file */
	struct timespec mtime;
};

/* tar.c: what is written. */

struct attributes {
	char *text; /* records of a pax header */
	size_t size, room;
};

void number_into(char *to, size_t size, unsigned long long value);
/* Add a record "LENGTH KEY=VALUE\n", whose length counts its own digits. */
void add_record(struct attributes *to, const char *key, const char *value, size_t size);
/* What stands before an entry's data; frees `extra`. */
bool put_entry(int out, struct header *header, const char *name, const char *target, struct attributes *extra);
/* What stands after data of `size` bytes. */
bool pad(int out, unsigned long long size);

/* untar.c: the entry that next_entry() has read. */
extern struct entry entry;

/* Read up to and with the next entry's header; `*more` is false at the archive's end. NULL, or what is wrong. */
const char *next_entry(int in, bool *more);
unsigned long long number_of(const char *text, size_t size);
unsigned long long padding(unsigned long long size);
bool skip(int in, unsigned long long size);

#endif

/* The header of a tar archive, as POSIX and GNU have it. */

#ifndef CWM_TAR_H
#define CWM_TAR_H

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

#endif

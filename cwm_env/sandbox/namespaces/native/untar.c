/* The entries of a tar archive, one after another: POSIX and GNU headers, long names, pax records. */

#include "native.h"
#include "tar.h"

#define MOST_EXTRA (4 << 20)

struct entry entry;

unsigned long long number_of(const char *text, size_t size) {
	unsigned long long value = 0;
	if ((unsigned char)*text & 0x80) {
		for (size_t i = 1; i < size; i++)
			value = value << 8 | (unsigned char)text[i];
		return value;
	}
	for (size_t i = 0; i < size && (text[i] == ' ' || (text[i] >= '0' && text[i] <= '7')); i++)
		if (text[i] != ' ')
			value = value << 3 | (unsigned)(text[i] - '0');
	return value;
}

bool skip(int in, unsigned long long size) {
	static char nowhere[65536];
	while (size) {
		size_t part = size < sizeof nowhere ? (size_t)size : sizeof nowhere;
		if (!read_all(in, nowhere, part))
			return false;
		size -= part;
	}
	return true;
}

unsigned long long padding(unsigned long long size) { return (BLOCK - size % BLOCK) % BLOCK; }

/* The value of a pax record, ended by a NUL in place of its newline, or NULL. */
static char *pax(const char *key, size_t *size) {
	char *at = entry.pax, *end = entry.pax + entry.pax_size;
	size_t length = strlen(key);
	while (at && at < end) {
		char *text;
		size_t record = strtoul(at, &text, 10);
		if (!record || record > (size_t)(end - at) || *text != ' ' || text + 1 + length + 1 > at + record)
			return NULL;
		if (!strncmp(text + 1, key, length) && text[1 + length] == '=') {
			char *value = text + 2 + length;
			*size = (size_t)(at + record - 1 - value);
			value[*size] = 0;
			return value;
		}
		at += record;
	}
	return NULL;
}

static const char *read_extra(int in, char type, unsigned long long size) {
	bool is_pax = type == 'x' || type == 'g';
	if (size >= (is_pax ? MOST_EXTRA : LONGEST))
		return "a name or its attributes are too long";
	char *into = type == 'L' ? entry.name : entry.link;
	if (is_pax) {
		free(entry.pax);
		if (!(into = entry.pax = malloc((size_t)size + 1)))
			return "no memory is left";
		entry.pax_size = (size_t)size;
	}
	if (!read_all(in, into, (size_t)size) || !skip(in, padding(size)))
		return "the archive ends too early";
	into[size] = 0;
	entry.long_name |= type == 'L';
	entry.long_link |= type == 'K';
	if (type == 'g')
		entry.pax_size = 0;
	return NULL;
}

/* Seconds with a fraction, to the nanosecond, which a double cannot hold. */
static struct timespec time_of(const char *text) {
	char *at;
	bool early = *text == '-';
	long long seconds = strtoll(text, &at, 10);
	long fraction = 0, unit = *at == '.' ? 100000000 : 0;
	for (at++; unit && *at >= '0' && *at <= '9'; at++, unit /= 10)
		fraction += (*at - '0') * unit;
	if (early && fraction)
		return (struct timespec){(time_t)seconds - 1, 1000000000 - fraction};
	return (struct timespec){(time_t)seconds, fraction};
}

static void apply_pax(void) {
	size_t size;
	char *value;
	if ((value = pax("path", &size)) && size < LONGEST)
		strcpy(entry.name, value);
	if ((value = pax("linkpath", &size)) && size < LONGEST)
		strcpy(entry.link, value);
	if ((value = pax("size", &size)))
		entry.size = strtoull(value, NULL, 10);
	if ((value = pax("mtime", &size)))
		entry.mtime = time_of(value);
	entry.whole = entry.size;
	entry.map = pax("GNU.sparse.map", &size);
	if ((value = pax("GNU.sparse.size", &size)))
		entry.whole = strtoull(value, NULL, 10);
	if ((value = pax("GNU.sparse.name", &size)) && size < LONGEST)
		strcpy(entry.name, value);
}

const char *next_entry(int in, bool *more) {
	struct header *h = &entry.header;
	entry.long_name = entry.long_link = false;
	free(entry.pax);
	entry.pax = NULL, entry.pax_size = 0;
	for (;;) {
		if (!read_all(in, h, BLOCK))
			return "the archive ends too early";
		*more = h->name[0] || h->checksum[0];
		if (!*more)
			return NULL;
		if (number_of(h->checksum, sizeof h->checksum) != sum_of(h))
			return "it is not a tar archive";
		entry.size = number_of(h->size, sizeof h->size);
		if (!strchr("LKxg", h->type) || !h->type)
			break;
		const char *complaint = read_extra(in, h->type, entry.size);
		if (complaint)
			return complaint;
	}
	bool posix = !memcmp(h->magic, "ustar\0", 6);
	if (!entry.long_name)
		snprintf(entry.name, sizeof entry.name, "%.*s%s%.*s", posix ? 155 : 0, h->prefix, posix && *h->prefix ? "/" : "", 100,
		         h->name);
	if (!entry.long_link)
		snprintf(entry.link, sizeof entry.link, "%.*s", 100, h->link);
	entry.mtime = (struct timespec){(time_t)number_of(h->mtime, sizeof h->mtime), 0};
	if (strchr("123456", h->type ? h->type : '0') && h->type)
		entry.size = 0;
	apply_pax();
	return NULL;
}

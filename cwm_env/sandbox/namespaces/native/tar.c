/* Writes what stands before and after the data of an entry of a tar archive; `untar.c` reads it. */

#include "native.h"
#include "tar.h"

void number_into(char *to, size_t size, unsigned long long value) {
	if (value >> (3 * (size - 1))) { /* GNU's base 256 for what octal digits cannot hold */
		memset(to, 0, size);
		for (size_t i = size; i-- > 1 && value; value >>= 8)
			to[i] = (char)(value & 0xFF);
		to[0] = (char)0x80;
	} else
		snprintf(to, size, "%0*llo", (int)size - 1, value);
}

bool pad(int out, unsigned long long size) {
	static const char zeros[BLOCK];
	return !(size % BLOCK) || write_all(out, zeros, BLOCK - size % BLOCK);
}

static bool put_header(int out, struct header *header) {
	char sum[16];
	memcpy(header->magic, "ustar  ", 8);
	snprintf(sum, sizeof sum, "%06o", sum_of(header));
	memcpy(header->checksum, sum, 7);
	header->checksum[7] = ' ';
	return write_all(out, header, BLOCK);
}

static bool put_extra(int out, char type, const char *data, size_t size) {
	struct header header = {.name = LONG_NAME, .type = type};
	number_into(header.mode, sizeof header.mode, 0644);
	number_into(header.size, sizeof header.size, size);
	return put_header(out, &header) && write_all(out, data, size) && pad(out, size);
}

static bool put_name(int out, char type, const char *name, char *short_name) {
	size_t length = strlen(name);
	memcpy(short_name, name, length < 100 ? length : 100);
	return length <= 100 || put_extra(out, type, name, length + 1);
}

void add_record(struct attributes *to, const char *key, const char *value, size_t size) {
	size_t rest = strlen(key) + size + 3, length = rest + 1;
	for (size_t digits = 1, power = 10; length >= power; power *= 10)
		length = rest + ++digits;
	if (to->size + length + 1 > to->room) {
		size_t room = 2 * (to->size + length + 1);
		char *larger = realloc(to->text, room);
		if (!larger)
			return;
		to->text = larger, to->room = room;
	}
	char *at = to->text + to->size;
	at += sprintf(at, "%zu %s=", length, key);
	memcpy(at, value, size);
	at[size] = '\n';
	to->size += length;
}

bool put_entry(int out, struct header *header, const char *name, const char *target, struct attributes *extra) {
	bool good = (!extra->size || put_extra(out, 'x', extra->text, extra->size)) &&
	            put_name(out, 'K', target, header->link) && put_name(out, 'L', name, header->name) &&
	            put_header(out, header);
	free(extra->text);
	*extra = (struct attributes){0};
	return good;
}

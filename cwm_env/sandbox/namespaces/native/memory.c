/* Memory that does not stay: what a waiting pid 1 keeps is there thousands of times. */

#include "native.h"

#include <sys/mman.h>

#define PAGE 4096UL
#define DEEPEST (128UL << 10)

void *take_pages(size_t size) {
	void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return pages == MAP_FAILED ? NULL : pages;
}

void give_pages(void *pages, size_t size) {
	if (pages)
		munmap(pages, size);
}

void keep_from_children(void *pages, size_t size) { madvise(pages, size, MADV_DONTFORK); }

void let_go_of_stack(void) {
	uintptr_t end = ((uintptr_t)__builtin_frame_address(0) & ~(PAGE - 1)) - PAGE;
	madvise((void *)(end - DEEPEST), DEEPEST, MADV_DONTNEED);
}

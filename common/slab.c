#include "common/slab.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_CHECKED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define IS_CHECKED 1
#endif

enum { PAGE = 32 * 1024, LINE = 64, EMPTY_MAX = 64 };

/* Aligned to PAGE bytes, which it does not fill: the heap has its own bytes in front of the next one. */
struct page {
    struct np_list node; /* in slab.pages while it has room */
    struct np_slab *slab;
    void *free;     /* records that were given back, each pointing to the next */
    uint32_t used;  /* records */
    uint32_t fresh; /* offset of the first record that has never been taken */
    uint32_t end;   /* no record begins there or behind */
};

_Static_assert(sizeof(struct page) <= LINE, "records begin at the second line");

void np_slab_init(struct np_slab *slab, size_t size)
{
    assert(size % 16 == 0 && size < PAGE / 2);
    *slab = (struct np_slab){.size = size};
    np_list_init(&slab->pages);
}

static struct page *page_of(struct np_list *node)
{
    return NP_CONTAINER(node, struct page, node);
}

static void clear(struct page *page)
{
    page->free = NULL;
    page->fresh = LINE;
}

static struct page *add_page(struct np_slab *slab)
{
    void *memory = NULL;
    if (posix_memalign(&memory, PAGE, PAGE - LINE) != 0) {
        return NULL;
    }
    struct page *page = memory;
    *page = (struct page){.slab = slab};
    page->end = (uint32_t)(LINE + (PAGE - 2 * LINE) / slab->size * slab->size);
    clear(page);
    assert(np_list_is_empty(&slab->pages));
    np_list_push_front(&slab->pages, &page->node);
    slab->empty_count++;
    return page;
}

static void remove_page(struct page *page)
{
    page->slab->empty_count--;
    np_list_remove(&page->node);
    free(page);
}

static void *take(struct np_slab *slab)
{
    struct np_list *node = np_list_front(&slab->pages);
    struct page *page = node != NULL ? page_of(node) : add_page(slab);
    if (page == NULL) {
        return NULL;
    }
    void *record = page->free;
    if (record != NULL) {
        page->free = *(void **)record;
        __builtin_prefetch(page->free, 1);
    } else {
        record = (char *)page + page->fresh;
        page->fresh += (uint32_t)slab->size;
    }
    slab->empty_count -= page->used++ == 0;
    if (page->free == NULL && page->fresh == page->end) {
        np_list_remove(&page->node);
    }
    return record;
}

static void give(void *record)
{
    struct page *page = (struct page *)((uintptr_t)record & ~(uintptr_t)(PAGE - 1));
    if (page->free == NULL && page->fresh == page->end) {
        np_list_push_front(&page->slab->pages, &page->node);
    }
    *(void **)record = page->free;
    page->free = record;
    if (--page->used > 0) {
        return;
    }
    if (++page->slab->empty_count > EMPTY_MAX) {
        remove_page(page);
        return;
    }
    clear(page);
    np_list_remove(&page->node);
    np_list_push_back(&page->slab->pages, &page->node);
}

void *np_slab_take(struct np_slab *slab)
{
#if defined(IS_CHECKED) /* so that AddressSanitizer sees each record */
    return malloc(slab->size);
#endif
    return take(slab);
}

void np_slab_give(void *record)
{
#if defined(IS_CHECKED)
    free(record);
    return;
#endif
    if (record != NULL) {
        give(record);
    }
}

void np_slab_fini(struct np_slab *slab)
{
    NP_LIST_EACH(node, &slab->pages) {
        assert(page_of(node)->used == 0);
        remove_page(page_of(node));
    }
    assert(slab->empty_count == 0);
}

#include "worker/crash/unwind.h"

#include <dlfcn.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/crash/crash.h"
#include "worker/executor/call.h"

enum {
    FRAMES_MAX = 256, /* more than fit the text */
    INLINED_MAX = 32, /* functions inlined into each other at one place */
};

#define DW_FUNCTIONS(DO)              \
    DO(dwarf_attr_integrate)          \
    DO(dwarf_diename)                 \
    DO(dwarf_filesrc)                 \
    DO(dwarf_formudata)               \
    DO(dwarf_getscopes)               \
    DO(dwarf_getscopes_die)           \
    DO(dwarf_getsrc_die)              \
    DO(dwarf_getsrcfiles)             \
    DO(dwarf_haspc)                   \
    DO(dwarf_lineno)                  \
    DO(dwarf_linesrc)                 \
    DO(dwarf_tag)                     \
    DO(dwfl_addrmodule)               \
    DO(dwfl_attach_state)             \
    DO(dwfl_begin)                    \
    DO(dwfl_frame_pc)                 \
    DO(dwfl_getthread_frames)         \
    DO(dwfl_linux_proc_find_elf)      \
    DO(dwfl_linux_proc_maps_report)   \
    DO(dwfl_module_addrdie)           \
    DO(dwfl_module_addrinfo)          \
    DO(dwfl_module_info)              \
    DO(dwfl_module_nextcu)            \
    DO(dwfl_report_begin)             \
    DO(dwfl_report_end)               \
    DO(dwfl_standard_find_debuginfo)  \
    DO(dwfl_thread_state_register_pc) \
    DO(dwfl_thread_state_registers)

#define DECLARE(name) __typeof__(&name) name;
static struct {
    DW_FUNCTIONS(DECLARE)
} dw;
#undef DECLARE

struct frame {
    uint64_t pc;
    bool is_activation; /* pc is the instruction itself, not the one to return to */
};

struct unwinding {
    const struct unwind_input *input;
    Dwfl *dwfl;
    size_t count;
    struct frame frames[FRAMES_MAX];
};

static bool load_library(void)
{
    void *library = dlopen("libdw.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return false;
    }
    bool has_all = true;
#define LOAD(name)                                \
    {                                             \
        void *symbol = dlsym(library, #name);     \
        memcpy(&dw.name, &symbol, sizeof symbol); \
        has_all = has_all && symbol != NULL;      \
    }
    DW_FUNCTIONS(LOAD)
#undef LOAD
    return has_all;
}

static pid_t next_thread(Dwfl *dwfl, void *context, void **thread_context)
{
    (void)dwfl;
    if (*thread_context != NULL) {
        return 0;
    }
    *thread_context = context;
    return getpid();
}

static bool read_memory(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *result, void *context)
{
    (void)dwfl;
    const struct unwind_input *input = ((const struct unwinding *)context)->input;
    if (address < input->stack_address || input->stack_size < sizeof *result ||
        address - input->stack_address > input->stack_size - sizeof *result) {
        return false;
    }
    memcpy(result, input->stack + (address - input->stack_address), sizeof *result);
    return true;
}

static bool set_registers(Dwfl_Thread *thread, void *context)
{
    const struct unwind_input *input = ((const struct unwinding *)context)->input;
    Dwarf_Word registers[CRASH_REGISTERS];
    memcpy(registers, input->registers, sizeof registers);
    if (!dw.dwfl_thread_state_registers(thread, 0, CRASH_REGISTERS, registers)) {
        return false;
    }
    dw.dwfl_thread_state_register_pc(thread, input->pc);
    return true;
}

static int take_frame(Dwfl_Frame *state, void *context)
{
    struct unwinding *unwinding = context;
    struct frame frame;
    if (!dw.dwfl_frame_pc(state, &frame.pc, &frame.is_activation) || call_is_caller(frame.pc)) {
        return DWARF_CB_ABORT;
    }
    unwinding->frames[unwinding->count++] = frame;
    return unwinding->count < FRAMES_MAX ? DWARF_CB_OK : DWARF_CB_ABORT;
}

static bool open_modules(struct unwinding *unwinding)
{
    static char *debug_info_path; /* NULL: the usual places */
    static Dwfl_Callbacks callbacks = {.debuginfo_path = &debug_info_path};
    callbacks.find_elf = dw.dwfl_linux_proc_find_elf;
    callbacks.find_debuginfo = dw.dwfl_standard_find_debuginfo;
    static const Dwfl_Thread_Callbacks thread_callbacks = {
        .next_thread = next_thread, .memory_read = read_memory, .set_initial_registers = set_registers};
    const struct unwind_input *input = unwinding->input;
    FILE *maps = fmemopen((void *)(uintptr_t)input->maps, input->maps_size, "r");
    unwinding->dwfl = dw.dwfl_begin(&callbacks);
    if (maps == NULL || unwinding->dwfl == NULL) {
        return false;
    }
    dw.dwfl_report_begin(unwinding->dwfl);
    return dw.dwfl_linux_proc_maps_report(unwinding->dwfl, maps) == 0 &&
           dw.dwfl_report_end(unwinding->dwfl, NULL, NULL) == 0 &&
           dw.dwfl_attach_state(unwinding->dwfl, NULL, getpid(), &thread_callbacks, unwinding);
}

static uint64_t number_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word value = 0;
    if (dw.dwarf_attr_integrate(die, name, &attribute) == NULL || dw.dwarf_formudata(&attribute, &value) != 0) {
        return 0;
    }
    return value;
}

/* Where the inlined function was called from. */
static void find_call(Dwarf_Die *unit, Dwarf_Die *inlined, const char **file, int *line)
{
    Dwarf_Files *files;
    if (dw.dwarf_getsrcfiles(unit, &files, NULL) == 0) {
        *file = dw.dwarf_filesrc(files, number_of(inlined, DW_AT_call_file), NULL, NULL);
    }
    *line = (int)number_of(inlined, DW_AT_call_line);
}

/* The functions that contain the address by the debug information: inlined ones first, then the real one. Returns
 * their number. */
static int find_functions(Dwarf_Die *unit, uint64_t address, Dwarf_Die out[INLINED_MAX])
{
    Dwarf_Die *innermost = NULL;
    Dwarf_Die *scopes = NULL;
    int count = 0;
    if (dw.dwarf_getscopes(unit, address, &innermost) > 0) {
        /* dwarf_getscopes goes on with where an inlined function was written; wanted is where it was inlined. */
        int scope_count = dw.dwarf_getscopes_die(&innermost[0], &scopes);
        for (int i = 0; i < scope_count && count < INLINED_MAX; i++) {
            int tag = dw.dwarf_tag(&scopes[i]);
            if (tag == DW_TAG_inlined_subroutine || tag == DW_TAG_subprogram) {
                out[count++] = scopes[i];
            }
        }
    }
    free(innermost);
    free(scopes);
    return count;
}

/* The compilation unit that the address belongs to. Compilers may leave out the index by address (clang does). */
static Dwarf_Die *find_unit(Dwfl_Module *module, uint64_t address, Dwarf_Addr *bias)
{
    Dwarf_Die *unit = dw.dwfl_module_addrdie(module, address, bias);
    if (unit != NULL) {
        return unit;
    }
    do {
        unit = dw.dwfl_module_nextcu(module, unit, bias);
    } while (unit != NULL && dw.dwarf_haspc(unit, address - *bias) != 1);
    return unit;
}

/* False without debug information. */
static bool add_source(Dwfl_Module *module, uint64_t address, const char *symbol, struct stack_text *text)
{
    int line = 0;
    Dwarf_Addr bias = 0;
    Dwarf_Die *unit = find_unit(module, address, &bias);
    Dwarf_Line *place = unit != NULL ? dw.dwarf_getsrc_die(unit, address - bias) : NULL;
    const char *file = place != NULL ? dw.dwarf_linesrc(place, NULL, NULL) : NULL;
    if (file == NULL || dw.dwarf_lineno(place, &line) != 0) {
        return false;
    }
    Dwarf_Die functions[INLINED_MAX];
    int count = find_functions(unit, address - bias, functions);
    for (int i = 0; i < count; i++) {
        const char *name = dw.dwarf_diename(&functions[i]);
        stack_text_add_source(text, name != NULL ? name : "?", file != NULL ? file : "?", line);
        if (dw.dwarf_tag(&functions[i]) == DW_TAG_inlined_subroutine) {
            find_call(unit, &functions[i], &file, &line);
        }
    }
    if (count == 0) {
        stack_text_add_source(text, symbol != NULL ? symbol : "?", file, line);
    }
    return true;
}

static void add_frame(struct unwinding *unwinding, const struct frame *frame, struct stack_text *text)
{
    /* A return address may be the first instruction of the next line, or of the next function. */
    uint64_t address = frame->is_activation ? frame->pc : frame->pc - 1;
    Dwfl_Module *module = dw.dwfl_addrmodule(unwinding->dwfl, address);
    if (module == NULL) {
        stack_text_add_address(text, NULL, NULL, 0, frame->pc);
        return;
    }
    GElf_Off offset = 0;
    GElf_Sym symbol;
    const char *name = dw.dwfl_module_addrinfo(module, address, &offset, &symbol, NULL, NULL, NULL);
    if (add_source(module, address, name, text)) {
        return;
    }
    Dwarf_Addr start = 0;
    const char *path = dw.dwfl_module_info(module, NULL, &start, NULL, NULL, NULL, NULL, NULL);
    offset = name != NULL ? offset + (frame->pc - address) : frame->pc - start;
    stack_text_add_address(text, name, path, path != NULL ? strlen(path) : 0, offset);
}

bool unwind_frames(const struct unwind_input *input, struct stack_text *text)
{
    static struct unwinding unwinding;
    unwinding = (struct unwinding){.input = input};
    if (!load_library() || !open_modules(&unwinding)) {
        return false;
    }
    (void)dw.dwfl_getthread_frames(unwinding.dwfl, getpid(), take_frame, &unwinding);
    for (size_t i = 0; i < unwinding.count && !text->is_full; i++) {
        add_frame(&unwinding, &unwinding.frames[i], text);
    }
    return unwinding.count > 0;
}

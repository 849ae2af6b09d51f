/* The symbolizer: a short-lived process that turns what one crash left behind into the text of its stack. It works on
 * data that a hostile function may have made, so it is bounded in time and memory, and nothing depends on its end but
 * that one text. */
#ifndef NP_SYMBOLIZER_H
#define NP_SYMBOLIZER_H

#include <stdbool.h>
#include <sys/types.h>

#include "worker/crash/crash.h"
#include "worker/crash/stack_text.h"

#define SYMBOLIZER_TIME_S 5

/* Runs in a fresh fork of the zygote: takes a struct crash_dump from dump_fd, writes the text to out_fd. */
_Noreturn void symbolizer_main(pid_t parent, int dump_fd, int out_fd);

/* The work itself. */
void symbolizer_tell(const struct crash_dump *dump, struct stack_text *text);

#endif

/* What users read when an initializer fails: the same words in executor processes and in the threads of a `threads:N`
 * pool. Each writes one line to text, which has NP_MESSAGE_MAX + 1 bytes. */
#ifndef NP_INITIALIZER_H
#define NP_INITIALIZER_H

/* It returned a failure with these words, or cannot be called for this reason. */
void initializer_failed(char *text, const char *name, const char *words);

/* Its executor came to this end (as of waitpid). */
void initializer_crashed(char *text, const char *name, int wait_status);

#endif

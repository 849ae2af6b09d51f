/* The texts of `netpool ca [COMMAND] --help`. */
#ifndef CA_HELP_H
#define CA_HELP_H

/* NULL: the overview. Returns the exit status. */
int ca_help_print(const char *verb);

#endif

/* `netpool ca ...`: the certificate authority on the command line. */
#ifndef CA_COMMAND_H
#define CA_COMMAND_H

/* argv[0] is "ca". Returns the exit status: 0 done, 1 failed, 2 wrong usage. */
int ca_command(int argc, char **argv);

#endif

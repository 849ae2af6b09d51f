/* cmocka needs these four before it, in this order. */
#ifndef NP_CMOCKA_ALL_H
#define NP_CMOCKA_ALL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif

/* cost: what the processes of the server have used, as the kernel counts it. */
#ifndef COST_H
#define COST_H

#include "options.h"

/* CPU seconds of all given processes, all their threads, in user and in kernel mode. */
double cpu_seconds(const struct options *options);

/* Resident memory (VmRSS) of all given processes, in KiB. Socket buffers are the kernel's and not in it. */
long resident_kb(const struct options *options);

/* The monotonic clock, in seconds. */
double now(void);

#endif

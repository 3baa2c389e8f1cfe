/* The version of everything in this tree: daemons, tools, metrics. */
#ifndef SERVICE_VERSION_H
#define SERVICE_VERSION_H

#define FANFARE_VERSION "0.1.0"

#endif

/* The admin endpoint: a small HTTP server on the main loop that answers service_endpoint's paths. */
#ifndef SERVICE_ADMIN_H
#define SERVICE_ADMIN_H

#include "common/service/service.h"

struct http_server;
/* ERR_IO with *ret_message (own) when the address cannot be bound. Freed with http_server_free, before the loop. */
enum err admin_new(struct service *s, const char *address, uint16_t port, struct http_server **ret, char **ret_message);

#endif

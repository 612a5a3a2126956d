#include "gateway/own.h"

#include "gateway/breakers.h"
#include "gateway/docs.h"

const struct own_handler OWN_HANDLERS[] = {
    {"contract", docs_contract, ROUTE_OWN_ACCEPT},
    {"docs", docs_page, ROUTE_OWN_ACCEPT},
    {"docs-file", docs_file, ROUTE_OWN_ACCEPT},
    {"problem", docs_problem, ROUTE_OWN_ACCEPT},
    {"breakers", breakers_list, 0},
    {"breaker", breakers_get, 0},
    {"breaker-force", breakers_force, 0},
    {.name = NULL},
};

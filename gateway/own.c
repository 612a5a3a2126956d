#include "gateway/own.h"

#include "gateway/docs.h"

const struct own_handler OWN_HANDLERS[] = {
    {"contract", docs_contract, ROUTE_OWN_ACCEPT},
    {"docs", docs_page, ROUTE_OWN_ACCEPT},
    {"docs-file", docs_file, ROUTE_OWN_ACCEPT},
    {"problem", docs_problem, ROUTE_OWN_ACCEPT},
    {.name = NULL},
};

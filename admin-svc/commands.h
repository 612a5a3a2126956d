/* commands.h — what a command or an incoming event does to matches and the book.
 *
 * Owns    commands live in their call's arena, events in their item's.
 * Threads want, decide, answer: the lane's.
 * Fails   a match that can't be is the outcome of its order, never an error.
 */
#ifndef ADMIN_SVC_COMMANDS_H
#define ADMIN_SVC_COMMANDS_H

#include "match.h"
#include "svc/service.h"

/* Named orders (count > 0), or all pending ones: of one asset, or of all (asset NULL). */
struct match_command {
    struct uuid id;
    const struct uuid *order_ids;
    size_t count;
    const char *asset;
    const char *actor;
};
extern const struct lane_verb ADMIN_MATCH;
/* Crosses matches whose barrier has been read up to; an internal command without a call. */
extern const struct lane_verb ADMIN_CROSS;
/* Events. */
extern const struct lane_verb ADMIN_ORDER, ADMIN_FILLED, ADMIN_REFUSED, ADMIN_BARRIER, ADMIN_SETTLED;
/* Events that are kept only, for the audit across services. */
extern const struct lane_verb ADMIN_POSTED, ADMIN_TRANSFER_ASKED, ADMIN_TRANSFER_BOOKED, ADMIN_TRANSFER_REFUSED,
    ADMIN_REGISTERED, ADMIN_OPENED;

extern const struct lane_ops ADMIN_SVC_OPS;
/* Every second: looks at barriers that another replica's progress, or a restart, may have opened. */
void commands_tick(struct service *s);

#endif

/* commands.h — what a command or an incoming event does to transfers.
 *
 * Owns    commands live in their call's arena, events in their item's.
 * Threads want, decide, answer: the lane's.
 * Fails   TXN_REQUEST: ERR_NOT_FOUND for a customer that an admin made up.
 */
#ifndef TXN_SVC_COMMANDS_H
#define TXN_SVC_COMMANDS_H

#include "svc/lane.h"
#include "transfer.h"

/* Command; args: a struct transfer as asked for (id, customer, type, amount, iban, actor). */
extern const struct lane_verb TXN_REQUEST;
/* Events. */
extern const struct lane_verb TXN_BOOKED, TXN_REFUSED;

extern const struct lane_ops TXN_SVC_OPS;

#endif

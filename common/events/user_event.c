#include "events/user_event.h"

#include "events/members.h"

static const struct member REGISTERED[] = {
    MEMBER("customerId", ID, struct user_registered, customer_id),
    MEMBER("username", TEXT, struct user_registered, username),
    MEMBER("fullName", TEXT, struct user_registered, full_name),
    MEMBER("role", TEXT, struct user_registered, role),
    MEMBER_END,
};

void user_registered_encode(struct buf *out, const struct user_registered *e)
{
    members_encode(out, REGISTERED, e);
}

enum err user_registered_decode(const struct json *data, struct arena *arena, struct user_registered *ret,
                                struct fault *fault)
{
    return members_get(data, "", REGISTERED, arena, ret, fault);
}

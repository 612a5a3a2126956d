/* Users as admins see and change them, and the trail of security events. */
#include <stddef.h>

#include "api_private.h"

/* ---- GET /auth/users, /auth/users/{customerId} ---- */

struct users_query {
    struct user_filter filter;
    const char *username, *cursor;
    int role, status;
    int64_t limit;
};

/* clang-format off */
#define AT(member) offsetof(struct users_query, member)
static const struct field USERS_FIELDS[] = {
    {.name = "username", .kind = FIELD_TEXT, .offset = AT(username), .min = 1, .max = USER_NAME_MAX, .check = api_check_username},
    {.name = "role", .kind = FIELD_CHOICE, .offset = AT(role), .choices = USER_ROLES},
    {.name = "status", .kind = FIELD_CHOICE, .offset = AT(status), .choices = USER_STATUSES},
    {.name = "cursor", .kind = FIELD_TEXT, .offset = AT(cursor), .min = 1, .max = CURSOR_TEXT_MAX},
    {.name = "limit", .kind = FIELD_INT, .offset = AT(limit), .min = 1, .max = LIST_LIMIT_MAX},
    FIELD_END,
};
#undef AT
/* clang-format on */

static enum err query_users(struct call *call, struct db *db)
{
    const struct users_query *q = call->state;
    struct user_list list;
    enum err e = store_read_user_list(db, &call->arena, &q->filter, &list, &call->fault);
    if (e != ERR_OK)
        return e;
    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_open(&o, "items", '[');
    for (size_t i = 0; i < list.count; i++)
        api_write_user(&o, &list.items[i]);
    json_close(&o, ']');
    const struct user *last = list.count > 0 ? &list.items[list.count - 1] : &(struct user){.customer_id = 0};
    api_close_list(&o, list.more, last->create_date, uuid_of_int(last->customer_id));
    call_reply(call, 200);
    return ERR_OK;
}

enum err api_on_list_users(struct call *call)
{
    struct users_query *q = ARENA_NEW(&call->arena, struct users_query);
    q->role = q->status = -1;
    q->limit = LIST_LIMIT_DEFAULT;
    enum err e = call_query(call, USERS_FIELDS, q);
    if (e == ERR_OK)
        e = cursor_decode(q->cursor, &q->filter.after, &call->errors);
    if (e != ERR_OK)
        return e;
    q->filter.username = q->username;
    q->filter.role = q->role;
    q->filter.status = q->status;
    q->filter.limit = q->limit;
    call->state = q;
    return readers_submit(call_service(call)->readers, call, query_users);
}

static enum err customer_of_path(struct call *call, int64_t *ret)
{
    return str_to_i64(call->params[0], ret) && *ret > 0 ? ERR_OK : ERR_NOT_FOUND;
}

static enum err query_user(struct call *call, struct db *db)
{
    const int64_t *customer_id = call->state;
    struct user *users;
    size_t count;
    enum err e = store_read_users(db, &call->arena, customer_id, 1, &users, &count, &call->fault);
    if (e != ERR_OK)
        return e;
    if (count == 0)
        return fault_set(&call->fault, ERR_NOT_FOUND, "there is no user %lld", (long long)*customer_id);
    struct json_out o = json_out(&call->out);
    api_write_user(&o, &users[0]);
    call_reply(call, 200);
    return ERR_OK;
}

enum err api_on_get_user(struct call *call)
{
    int64_t *customer_id = ARENA_NEW(&call->arena, int64_t);
    enum err e = customer_of_path(call, customer_id);
    if (e == ERR_OK)
        e = call_query(call, API_NO_FIELDS, NULL);
    call->state = customer_id;
    return e == ERR_OK ? readers_submit(call_service(call)->readers, call, query_user) : e;
}

/* ---- PATCH /auth/users/{customerId}, DELETE /auth/users/{customerId}/sessions ---- */

static const struct field CHANGE_FIELDS[] = {
    {.name = "status", .kind = FIELD_CHOICE, .offset = offsetof(struct change_user, status), .choices = USER_STATUSES},
    {.name = "role", .kind = FIELD_CHOICE, .offset = offsetof(struct change_user, role), .choices = USER_ROLES},
    FIELD_END,
};

enum err api_on_change_user(struct call *call)
{
    struct change_user *cmd = ARENA_NEW(&call->arena, struct change_user);
    *cmd = (struct change_user){.role = -1, .status = -1};
    enum err e = customer_of_path(call, &cmd->customer_id);
    if (e == ERR_OK)
        e = call_body(call, CHANGE_FIELDS, cmd);
    if (e != ERR_OK)
        return e;
    if (cmd->role < 0 && cmd->status < 0)
        return field_error_add(&call->errors, "", "must name a status, a role, or both");
    return service_submit(call, api_command(call, &AUTH_CHANGE_USER, cmd, cmd->customer_id), NULL);
}

void api_answer_user(struct lane_item *it)
{
    struct json_out o = json_out(&it->call->out);
    api_write_user(&o, it->result);
    call_reply(it->call, 200);
    call_finish(it->call, ERR_OK);
}

enum err api_on_end_sessions(struct call *call)
{
    struct end_sessions *cmd = ARENA_NEW(&call->arena, struct end_sessions);
    *cmd = (struct end_sessions){.reason = "admin", .must_be_there = true};
    enum err e = customer_of_path(call, &cmd->customer_id);
    if (e == ERR_OK)
        e = call_query(call, API_NO_FIELDS, NULL);
    if (e != ERR_OK)
        return e;
    return service_submit(call, api_command(call, &AUTH_END_USER_SESSIONS, cmd, cmd->customer_id), NULL);
}

/* ---- GET /admin/audit-log ---- */

struct trail_query {
    struct trail_filter filter;
    const char *cursor;
};
/* clang-format off */
#define AT(member) offsetof(struct trail_query, member)
static const struct field TRAIL_FIELDS[] = {
    {.name = "type", .kind = FIELD_CHOICE, .offset = AT(filter.type), .choices = TRAIL_TYPES},
    {.name = "customerId", .kind = FIELD_ID, .offset = AT(filter.customer_id)},
    {.name = "from", .kind = FIELD_TIME, .offset = AT(filter.from)},
    {.name = "to", .kind = FIELD_TIME, .offset = AT(filter.to)},
    {.name = "cursor", .kind = FIELD_TEXT, .offset = AT(cursor), .min = 1, .max = CURSOR_TEXT_MAX},
    {.name = "limit", .kind = FIELD_INT, .offset = AT(filter.limit), .min = 1, .max = LIST_LIMIT_MAX},
    FIELD_END,
};
#undef AT
/* clang-format on */

static void write_row(struct json_out *o, const struct trail_row *r)
{
    json_open(o, NULL, '{');
    json_put_uuid(o, "id", r->id);
    json_put_time(o, "at", r->at);
    json_put_text(o, "type", r->type);
    json_put_text(o, "actor", r->actor);
    if (r->customer_id)
        json_put_int(o, "customerId", r->customer_id);
    else
        json_put_null(o, "customerId");
    if (uuid_is_nil(r->session_id))
        json_put_null(o, "sessionId");
    else
        json_put_uuid(o, "sessionId", r->session_id);
    json_put_text(o, "address", r->address);
    json_put_text(o, "requestId", r->request_id);
    json_put_text(o, "detail", r->detail);
    json_close(o, '}');
}

static enum err query_trail(struct call *call, struct db *db)
{
    const struct trail_query *q = call->state;
    struct trail_list list;
    enum err e = store_read_trail(db, &call->arena, &q->filter, &list, &call->fault);
    if (e != ERR_OK)
        return e;
    struct json_out o = json_out(&call->out);
    json_open(&o, NULL, '{');
    json_open(&o, "items", '[');
    for (size_t i = 0; i < list.count; i++)
        write_row(&o, &list.items[i]);
    json_close(&o, ']');
    const struct trail_row *last = list.count > 0 ? &list.items[list.count - 1] : &(struct trail_row){.at = 0};
    api_close_list(&o, list.more, last->at, last->id);
    call_reply(call, 200);
    return ERR_OK;
}

enum err api_on_list_trail(struct call *call)
{
    struct trail_query *q = ARENA_NEW(&call->arena, struct trail_query);
    q->filter = (struct trail_filter){.type = -1, .limit = LIST_LIMIT_DEFAULT};
    enum err e = call_query(call, TRAIL_FIELDS, q);
    if (e == ERR_OK && q->filter.from && q->filter.to && q->filter.to < q->filter.from)
        e = field_error_add(&call->errors, "?to", "must not be before from");
    if (e == ERR_OK)
        e = cursor_decode(q->cursor, &q->filter.after, &call->errors);
    if (e != ERR_OK)
        return e;
    call->state = q;
    return readers_submit(call_service(call)->readers, call, query_trail);
}

/* ---- POST /admin/audit-log ---- */

/* What other processes may have written down, on behalf of the admin whose token they show. */
static const char *const TOLD_TYPES[] = {"breaker.forced", NULL};
static const enum trail_type TOLD_AS[] = {TRAIL_BREAKER};

struct record_body {
    int type;
    const char *detail;
};
static const struct field RECORD_FIELDS[] = {
    {.name = "type",
     .kind = FIELD_CHOICE,
     .offset = offsetof(struct record_body, type),
     .flags = FIELD_REQUIRED,
     .choices = TOLD_TYPES},
    {.name = "detail",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct record_body, detail),
     .flags = FIELD_REQUIRED,
     .min = 1,
     .max = TRAIL_DETAIL_MAX},
    FIELD_END,
};

enum err api_on_record(struct call *call)
{
    struct record_body body = {.type = -1};
    enum err e = call_body(call, RECORD_FIELDS, &body);
    if (e != ERR_OK)
        return e;
    struct trail_entry *entry = ARENA_NEW(&call->arena, struct trail_entry);
    *entry = (struct trail_entry){.type = TOLD_AS[body.type], .detail = body.detail};
    return service_submit(call, api_command(call, &AUTH_RECORD, entry, call->claims.customer_id), NULL);
}

#include "auth.h"

#include <string.h>

#include "commands.h"
#include "conf.h"
#include "password_rule.h"
#include "store.h"

enum err auth_open(struct service *s, struct fault *fault)
{
    const struct auth_settings *settings = auth_settings_of(s);
    struct auth *a = mem_alloc(sizeof *a);
    s->app = a;
    a->cost = (struct password_cost){(size_t)settings->password_memory_kib, (unsigned)settings->password_ops};
    a->logins = metrics_counter(s->metrics, "logins_total", "Log-ins, by outcome.", "outcome=\"ok\"");
    a->logins_refused = metrics_counter(s->metrics, "logins_total", "Log-ins, by outcome.", "outcome=\"refused\"");
    a->unopened = metrics_gauge(s->metrics, "sagas_open", "Sagas under way, by state.",
                                "saga=\"register\",state=\"NEW\"");
    a->unopened_age = metrics_gauge(s->metrics, "sagas_oldest_seconds", "Age of the oldest saga under way.",
                                    "saga=\"register\",state=\"NEW\"");

    enum err e = password_start(fault);
    if (e == ERR_OK)
        e = token_signer_open(settings->signing_keys_dir, &a->signer, fault);
    if (e == ERR_OK)
        e = jwks_open(settings->service.jwks_file, s->verifier, &a->jwks, fault);
    if (e == ERR_OK)
        e = hashers_open((int)settings->password_workers, s->metrics, &a->hashers, fault);
    if (e == ERR_OK && settings->password_list_file != NULL)
        e = password_list_open(settings->password_list_file, &a->passwords, fault);
    if (e == ERR_OK && a->passwords == NULL)
        log_warn(s->log, "PASSWORD_LIST_FILE is not set: of common passwords only a few are known");
    if (e == ERR_OK)
        password_hash_of_nobody(a->cost, a->nobody);
    return e;
}

void auth_close(struct service *s)
{
    struct auth *a = auth_of(s);
    hashers_close(a->hashers);
    jwks_close(a->jwks);
    password_list_close(a->passwords);
    buf_done(&a->keys_told);
    token_signer_close(a->signer);
    mem_free(a);
}

void auth_measure(void *app, struct db *db)
{
    struct auth *a = auth_of(app);
    struct user_measures m;
    store_prune_buckets(db);
    if (!store_measure(db, &m))
        return;
    gauge_set(a->unopened, (double)m.unopened);
    gauge_set(a->unopened_age, m.oldest ? (double)(clock_now_us() - m.oldest) / 1e6 : 0);
    atomic_store(&a->admins, m.has_admin ? ADMINS_THERE : ADMINS_NONE);
}

/* ---- the first admin ---- */

static void tell_once(struct service *s, const char *what, const char *why)
{
    struct auth *a = auth_of(s);
    if (!a->told_no_admin)
        log_error(s->log, "there is no admin, and none can be made: %s %s", what, why);
    a->told_no_admin = true;
}

static enum err submit_admin(struct service *s, const char *hash, struct fault *fault)
{
    struct lane_item *item = lane_item_new(false);
    struct register_user *cmd = ARENA_NEW(&item->own_arena, struct register_user);
    cmd->username = USER_FIRST_ADMIN;
    cmd->full_name = "First Admin";
    cmd->role = ROLE_ADMIN;
    cmd->must_change_password = !auth_settings_of(s)->admin_password_generated;
    cmd->password_hash = arena_strdup(&item->own_arena, hash);
    item->verb = &AUTH_FIRST_ADMIN;
    item->args = cmd;
    enum err e = lane_submit(s->lane, item);
    if (e == ERR_OK)
        return ERR_OK;
    *fault = item->fault;
    lane_item_free(item);
    return e;
}

/* If it comes to nothing, the next measure finds no admin again, and this is done again. */
static void make_first_admin(struct service *s, const char *password)
{
    struct auth *a = auth_of(s);
    struct fault fault;
    char hash[PASSWORD_HASH_MAX];
    atomic_store(&a->admins, ADMINS_ASKED_FOR);
    enum err e = password_hash(a->cost, password, hash, &fault);
    if (e == ERR_OK)
        e = submit_admin(s, hash, &fault);
    if (e != ERR_OK)
        log_warn(s->log, "the first admin is not made yet: %s", fault.why);
}

static void tend_first_admin(struct service *s)
{
    const char *password = auth_settings_of(s)->admin_password;
    if (atomic_load(&auth_of(s)->admins) != ADMINS_NONE || !lane_is_held(s->lane))
        return;

    const char *complaint = password ? password_complaint_by(auth_of(s)->passwords, password, USER_FIRST_ADMIN) : NULL;
    if (!password)
        tell_once(s, "put a password into a file,", "name that file in ADMIN_PASSWORD_FILE and start again");
    else if (complaint)
        tell_once(s, "the password in ADMIN_PASSWORD_FILE", complaint);
    else
        make_first_admin(s, password);
}

/* Every replica does it; what one deletes, another skips. */
static void prune(struct service *s)
{
    struct auth *a = auth_of(s);
    mono_ns_t now = clock_mono_ns();
    if (now < a->next_prune)
        return;
    a->next_prune = now + AUTH_PRUNE_S * NS_PER_S;
    struct lane_item *item = lane_item_new(false);
    item->verb = &AUTH_PRUNE;
    if (lane_submit(s->lane, item) != ERR_OK)
        lane_item_free(item);
}

static enum err submit_keys(struct service *s, const struct buf *names)
{
    struct lane_item *item = lane_item_new(false);
    struct trail_entry *entry = ARENA_NEW(&item->own_arena, struct trail_entry);
    size_t len = names->len < TRAIL_DETAIL_MAX ? names->len : TRAIL_DETAIL_MAX;
    *entry = (struct trail_entry){.type = TRAIL_KEYS, .detail = arena_strndup(&item->own_arena, buf_cstr(names), len)};
    item->verb = &AUTH_KEYS;
    item->args = entry;
    enum err e = lane_submit(s->lane, item);
    if (e != ERR_OK)
        lane_item_free(item);
    return e;
}

/* A change that comes to nothing on the way is told when keys change again, or at the next start. */
static void tell_of_keys(struct service *s)
{
    struct auth *a = auth_of(s);
    struct buf names;
    buf_init(&names);
    jwks_write_names(a->jwks, &names);
    if (strcmp(buf_cstr(&names), buf_cstr(&a->keys_told)) != 0 && submit_keys(s, &names) == ERR_OK) {
        buf_reset(&a->keys_told);
        buf_append(&a->keys_told, names.data, names.len);
    }
    buf_done(&names);
}

void auth_tick(struct service *s)
{
    struct fault fault;
    enum err e = jwks_refresh(auth_of(s)->jwks, &fault);
    (void)e; /* the keys there are stay; service.c reads the same file and logs why */
    tend_first_admin(s);
    tell_of_keys(s);
    prune(s);
}

#include "base/mem.h"

#include <signal.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

/* Sanitizers end the process themselves when asked for too much, unless told that NULL is an answer. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static bool is_zero(const unsigned char *p, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (p[i] != 0)
            return false;
    }
    return true;
}

static void ask_too_much_of_mem(void)
{
    volatile size_t too_much = PTRDIFF_MAX - 4096; /* volatile: the compiler would warn of the size */
    mem_free(mem_alloc(too_much));
}

static void ask_too_much_of_an_arena(void)
{
    struct arena a;
    arena_init(&a);
    volatile size_t too_much = PTRDIFF_MAX;
    memset(arena_alloc(&a, too_much), 1, 1);
}

/* Runs `act` in a child; returns how it ended, and what it wrote to stderr. */
static int run_in_child(void (*act)(void), char *ret_text, size_t cap)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL); /* cmocka catches it */
        dup2(ends[1], STDERR_FILENO);
        act();
        _exit(0);
    }
    close(ends[1]);
    size_t len = 0;
    ssize_t got;
    while (len + 1 < cap && (got = read(ends[0], ret_text + len, cap - 1 - len)) > 0)
        len += (size_t)got;
    ret_text[len] = '\0';
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void running_out_of_memory_ends_the_process_with_one_line(void **state)
{
    (void)state;
    static void (*const ACTS[])(void) = {ask_too_much_of_mem, ask_too_much_of_an_arena};
    for (size_t i = 0; i < LENGTH_OF(ACTS); i++) {
        char text[64 << 10];
        int status = run_in_child(ACTS[i], text, sizeof(text));
        assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
        /* Sanitizers warn of the size before they give NULL; our line stands last, whole. */
        const char *line = strstr(text, "out of memory: could not get ");
        assert_non_null(line);
        assert_string_equal(strchr(line, '\n'), "\n");
    }
}

static void memory_comes_zeroed_and_of_size_0_too(void **state)
{
    (void)state;
    unsigned char *p = mem_alloc(4096);
    assert_true(is_zero(p, 4096));
    mem_free(p);
    p = mem_alloc(0);
    assert_non_null(p);
    mem_free(p);
    mem_free(NULL);
}

static void realloc_keeps_the_bytes(void **state)
{
    (void)state;
    char *s = mem_strdup("kept");
    s = mem_realloc(s, 100000);
    assert_string_equal(s, "kept");
    s = mem_realloc(s, 0);
    assert_non_null(s);
    mem_free(s);
}

static void pieces_of_an_arena_are_aligned_zeroed_and_apart(void **state)
{
    (void)state;
    enum { PIECES = 2000 };
    struct arena a;
    arena_init(&a);
    static unsigned char *pieces[PIECES];
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < PIECES; i++) {
            size_t size = i * 7 % 300;
            pieces[i] = arena_alloc(&a, size);
            assert_int_equal((uintptr_t)pieces[i] % alignof(max_align_t), 0);
            assert_true(is_zero(pieces[i], size));
            memset(pieces[i], (int)(i % 251 + 1), size);
        }
        for (size_t i = 0; i < PIECES; i++) {
            for (size_t at = 0; at < i * 7 % 300; at++)
                assert_int_equal(pieces[i][at], i % 251 + 1);
        }
        arena_reset(&a);
    }
    arena_done(&a);
}

static void an_arena_takes_a_piece_larger_than_a_chunk(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    char *small = arena_strdup(&a, "small");
    unsigned char *large = arena_alloc(&a, 3 << 20);
    assert_true(is_zero(large, 3 << 20));
    memset(large, 1, 3 << 20);
    assert_string_equal(small, "small");
    arena_done(&a);
}

static void an_empty_arena_can_be_reset_and_done_twice(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    arena_reset(&a);
    arena_done(&a);
    arena_done(&a);
    assert_non_null(arena_alloc(&a, 0));
    arena_done(&a);
}

static void arena_texts_are_copies(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    char original[] = "ASELS";
    char *copy = arena_strdup(&a, original);
    char *piece = arena_strndup(&a, original + 1, 2);
    char *empty = arena_strndup(&a, NULL, 0);
    char *printed = arena_printf(&a, "%s × %d", original, 100);
    memset(original, '!', 5);
    assert_string_equal(copy, "ASELS");
    assert_string_equal(piece, "SE");
    assert_string_equal(empty, "");
    assert_string_equal(printed, "ASELS × 100");
    arena_done(&a);
}

struct row {
    int64_t a, b;
};

static void arena_arrays_hold_what_they_say(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    struct row *one = ARENA_NEW(&a, struct row);
    struct row *many = ARENA_ARRAY(&a, struct row, 1000);
    one->a = 1;
    many[999].b = 2;
    assert_int_equal(many[0].a, 0);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(running_out_of_memory_ends_the_process_with_one_line),
        cmocka_unit_test(memory_comes_zeroed_and_of_size_0_too),
        cmocka_unit_test(realloc_keeps_the_bytes),
        cmocka_unit_test(pieces_of_an_arena_are_aligned_zeroed_and_apart),
        cmocka_unit_test(an_arena_takes_a_piece_larger_than_a_chunk),
        cmocka_unit_test(an_empty_arena_can_be_reset_and_done_twice),
        cmocka_unit_test(arena_texts_are_copies),
        cmocka_unit_test(arena_arrays_hold_what_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

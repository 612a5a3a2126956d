#include "io/trace.h"

#include <string.h>

#include "unit.h"

#define TRACE_ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN_ID "00f067aa0ba902b7"

static void a_header_that_is_not_well_formed_begins_a_new_trace(void **state)
{
    (void)state;
    static const struct {
        const char *header, *why;
    } ROWS[] = {
        {"", "empty"},
        {"00-" TRACE_ID "-" SPAN_ID, "no flags"},
        {"00-" TRACE_ID "-" SPAN_ID "-1", "flags of one digit"},
        {"00-" TRACE_ID "-" SPAN_ID "-0g", "flags that are no hex"},
        {"00-" TRACE_ID "-" SPAN_ID "-01-x", "version 00 has no more parts"},
        {"01-" TRACE_ID "-" SPAN_ID "-01x", "a later version's parts begin with a hyphen"},
        {"ff-" TRACE_ID "-" SPAN_ID "-01", "version ff is forbidden"},
        {"0G-" TRACE_ID "-" SPAN_ID "-01", "version that is no hex"},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN_ID "-01", "upper case"},
        {"00-00000000000000000000000000000000-" SPAN_ID "-01", "a trace id of zeros"},
        {"00-" TRACE_ID "-0000000000000000-01", "a span id of zeros"},
        {"00_" TRACE_ID "-" SPAN_ID "-01", "underscore"},
        {"00-" TRACE_ID "_" SPAN_ID "-01", "underscore"},
        {"00-" TRACE_ID "-" SPAN_ID "_01", "underscore"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct trace t = trace_child(str_of(ROWS[i].header));
        ROW_CHECK(strcmp(t.trace_id, TRACE_ID) != 0, ROWS[i].why);
        ROW_CHECK(strlen(t.trace_id) == 32 && strspn(t.trace_id, "0123456789abcdef") == 32, ROWS[i].why);
        ROW_CHECK(strlen(t.span_id) == 16 && strspn(t.span_id, "0123456789abcdef") == 16, ROWS[i].why);
    }
}

static void a_child_keeps_the_trace_and_its_flag_and_gets_a_span_of_its_own(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        bool sampled;
        const char *why;
    } ROWS[] = {
        {"00-" TRACE_ID "-" SPAN_ID "-01", true, "sampled"},
        {"00-" TRACE_ID "-" SPAN_ID "-00", false, "not sampled"},
        {"00-" TRACE_ID "-" SPAN_ID "-ff", true, "unknown flags are passed over"},
        {"01-" TRACE_ID "-" SPAN_ID "-01-what-comes", true, "a later version"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct trace t = trace_child(str_of(ROWS[i].header));
        ROW_CHECK(strcmp(t.trace_id, TRACE_ID) == 0, ROWS[i].why);
        ROW_CHECK(strcmp(t.span_id, SPAN_ID) != 0, ROWS[i].why);
        ROW_CHECK(t.sampled == ROWS[i].sampled, ROWS[i].why);
    }
}

static void what_is_formatted_is_read_back(void **state)
{
    (void)state;
    struct trace a = trace_new();
    char text[TRACE_TEXT_MAX];
    trace_format(&a, text);
    assert_int_equal(strlen(text), 55);
    struct trace b = trace_child(str_of(text));
    assert_string_equal(b.trace_id, a.trace_id);
    assert_int_equal(b.sampled, a.sampled);

    a.sampled = false;
    trace_format(&a, text);
    assert_string_equal(text + 53, "00");
}

static void new_traces_differ(void **state)
{
    (void)state;
    struct trace a = trace_new(), b = trace_new();
    assert_string_not_equal(a.trace_id, b.trace_id);
    assert_string_not_equal(a.span_id, b.span_id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_that_is_not_well_formed_begins_a_new_trace),
        cmocka_unit_test(a_child_keeps_the_trace_and_its_flag_and_gets_a_span_of_its_own),
        cmocka_unit_test(what_is_formatted_is_read_back),
        cmocka_unit_test(new_traces_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Where a relay stands, as Kafka has it. */
#include "base/mem.h"
#include "io/kafka_handle.h"

static const struct kafka_setting POSITION_READER[] = {
    {"isolation.level", "read_committed"}, /* else it could be read while its commit is pending */
    {"enable.auto.commit", "false"},
    {0},
};

/* -1001 alone means "none"; with an error beside it, it means nothing. */
static rd_kafka_resp_err_t committed(struct kafka_handle *h, rd_kafka_topic_partition_list_t *list, mono_ns_t deadline)
{
    for (;;) {
        rd_kafka_resp_err_t code = rd_kafka_committed(h->rk, list, kafka_left_ms(deadline));
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            code = list->elems[0].err;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            return code;
        rd_kafka_poll(h->rk, KAFKA_PAUSE_MS);
        if (kafka_left_ms(deadline) == 0)
            return code;
    }
}

enum err kafka_position_read(const struct kafka_conf *conf, const char *group, const char *topic, int timeout_ms,
                             int64_t *ret_position, char *ret_metadata, size_t cap, struct fault *fault)
{
    const struct kafka_setting own[] = {{"group.id", group}, {0}};
    struct kafka_handle *h = mem_alloc(sizeof *h);
    if (kafka_handle_open(h, RD_KAFKA_CONSUMER, conf, POSITION_READER, own, NULL, fault) != ERR_OK) {
        mem_free(h);
        return ERR_CONF;
    }

    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    const rd_kafka_topic_partition_t *at = rd_kafka_topic_partition_list_add(list, topic, 0);
    enum err e = ERR_OK;
    rd_kafka_resp_err_t code = committed(h, list, kafka_deadline(timeout_ms));
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        e = kafka_handle_fail(h, code, "read the position", fault);
    } else {
        *ret_position = at->offset >= 0 ? at->offset : -1;
        (void)str_copy(ret_metadata, cap, (struct str){at->metadata, at->metadata_size});
    }
    rd_kafka_topic_partition_list_destroy(list);
    kafka_handle_drop(h);
    return e;
}

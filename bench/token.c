/* token — prints an access token for a customer, signed with a copy's own key: for benches that only need one.
 *
 *     token KEYS_DIR CUSTOMER_ID
 */
#include <stdio.h>
#include <stdlib.h>

#include "io/token.h"

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: token KEYS_DIR CUSTOMER_ID\n");
        return 2;
    }
    struct token_signer *signer;
    struct fault fault;
    struct arena arena;
    arena_init(&arena);
    int64_t now = clock_now_us() / US_PER_S;
    struct token_claims claims = {.customer_id = strtoll(argv[2], NULL, 10),
                                  .role = ROLE_CUSTOMER,
                                  .sid = uuid_v7(),
                                  .iat = now,
                                  .exp = now + TOKEN_LIFE_S};
    char *token;
    if (token_signer_open(argv[1], &signer, &fault) != ERR_OK ||
        token_sign(signer, &claims, &arena, &token, &fault) != ERR_OK) {
        fprintf(stderr, "token: %s\n", fault.why);
        return 1;
    }
    puts(token);
    token_signer_close(signer);
    arena_done(&arena);
    return 0;
}

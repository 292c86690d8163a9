/* Changing messages: edit, react, redact. */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "show.h"

/* Asks the node and prints the message as it is then. */
static int change(struct cli *c, const char *method, json_t *params, const char *done)
{
    json_t *m;
    int rc = cli_call(c, method, params, &m);
    if (rc != 0) {
        return rc;
    }
    if (c->json) {
        cli_json(m);
    } else if (c->tty_out) {
        char *name = cli_shown(cli_str(m, "conversation"));
        (void)printf("%s  %s%.*s%s with %s%s%s\n", done, cli_dim(c), CLI_ID_SHOWN,
                     cli_str(m, "id"), cli_plain(c), cli_bold(c), name, cli_plain(c));
        free(name);
    } else {
        (void)printf("%.*s\t", CLI_ID_SHOWN, cli_str(m, "id"));
        show_words(m);
        (void)fputc('\n', stdout);
    }
    json_decref(m);
    return 0;
}

int cmd_edit(struct cli *c)
{
    const char *text = c->args.words[1];
    char *input = NULL;
    size_t len = strlen(text);
    if (strcmp(text, "-") == 0) {
        text = input = cmd_read_text(&len);
        if (input == NULL) {
            return CLI_ERROR;
        }
    }
    int rc = cmd_check_text(text, len);
    if (rc == 0) {
        rc = change(c, "edit",
                    json_pack("{s:s,s:s%}", "id", c->args.words[0], "text", text, len),
                    "edited");
    }
    free(input);
    return rc;
}

int cmd_react(struct cli *c)
{
    bool back = args_value(&c->args, "--remove") != NULL;
    if (back == (c->args.n_words == 2)) {
        return cli_misused(c, back
                                  ? "--remove takes the reaction back: there is no emoji "
                                    "to give with it."
                                  : "The emoji is missing.");
    }
    json_t *params = json_pack("{s:s}", "id", c->args.words[0]);
    if (!back) {
        json_t *emoji = json_string(c->args.words[1]);
        if (emoji == NULL) {
            json_decref(params);
            return cli_fail(CLI_USAGE, "That is not UTF-8.");
        }
        (void)json_object_set_new(params, "emoji", emoji);
    }
    return change(c, "react", params, back ? "taken back" : "reacted");
}

int cmd_redact(struct cli *c)
{
    return change(c, "redact", json_pack("{s:s}", "id", c->args.words[0]), "redacted");
}

/* Mock upstream: one thread, epoll, HTTP/1.1 with keep-alive, on 127.0.0.1 only.
 *
 *   mock PORT
 *
 * POST .../messages, .../chat/completions and .../responses answer in the dialect of the path: as
 * JSON of about 1.5 KB, or as server-sent events when the body asks for a stream. Every other
 * request gets a small JSON answer. The request's text says what a stream looks like, so that it
 * reaches the mock through proxies that translate:
 *
 *   BENCH n=200 gap=5;     200 deltas, 5 ms between them (0: one write each, as fast as possible)
 */
#include "wire.h"

enum dialect { ANTHROPIC, CHAT, RESPONSES };

struct buffer {
    char *data;
    size_t start, end, room;
};

struct client {
    int fd;
    enum dialect dialect;
    int left, sent;      /* deltas of the running stream */
    int64_t gap, due;    /* ns between deltas; when the next is due */
    int waits_to_write;  /* registered for EPOLLOUT */
    int gone;
    struct buffer in, out;
    struct client *next_stream, *previous_stream; /* in the ring of paced streams, or NULL */
};

static int poller;
static struct client ring = {.next_stream = &ring, .previous_stream = &ring};

static void reserve(struct buffer *b, size_t size) {
    if (b->start && b->start == b->end) b->start = b->end = 0;
    if (b->end + size <= b->room) return;
    memmove(b->data, b->data + b->start, b->end - b->start);
    b->end -= b->start;
    b->start = 0;
    if (b->end + size <= b->room) return;
    b->room = (b->end + size) * 2;
    b->data = must(realloc(b->data, b->room));
}

static void append(struct buffer *b, const char *text, size_t size) {
    reserve(b, size);
    memcpy(b->data + b->end, text, size);
    b->end += size;
}

static void send_out(struct client *c) {
    struct buffer *b = &c->out;
    int blocked = 0;
    while (b->start < b->end) {
        ssize_t n = send(c->fd, b->data + b->start, b->end - b->start, 0);
        if (n > 0) {
            b->start += n;
        } else if (errno == EAGAIN) {
            blocked = 1;
            break;
        } else if (errno != EINTR) {
            c->gone = 1;
            return;
        }
    }
    if (blocked != c->waits_to_write) {
        struct epoll_event e = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0), .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
        c->waits_to_write = blocked;
    }
}

static void put_chunk(struct client *c, const char *text, int size) {
    char head[16];
    append(&c->out, head, sprintf(head, "%x\r\n", size));
    append(&c->out, text, size);
    append(&c->out, "\r\n", 2);
}

/* --- the dialects ---------------------------------------------------------------------------- */

#define CHUNK                                                                            \
    "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\","             \
    "\"created\":1763600000,\"model\":\"gpt-4o\",\"system_fingerprint\":\"fp_bench\","
#define CHOICE(delta, reason)                                                            \
    CHUNK "\"choices\":[{\"index\":0,\"delta\":" delta ",\"logprobs\":null,"             \
          "\"finish_reason\":" reason "}]}\n\n"
#define RESPONSE(status)                                                                 \
    "\"response\":{\"id\":\"resp_bench\",\"object\":\"response\",\"created_at\":1763600000," \
    "\"status\":\"" status "\",\"model\":\"gpt-4o\""

static int opening(enum dialect dialect, char *to) {
    switch (dialect) {
    case ANTHROPIC:
        return sprintf(to,
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{"
            "\"id\":\"msg_01Bench\",\"type\":\"message\",\"role\":\"assistant\","
            "\"model\":\"claude-sonnet-4-5\",\"content\":[],\"stop_reason\":null,"
            "\"stop_sequence\":null,\"usage\":{\"input_tokens\":25,"
            "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,"
            "\"output_tokens\":1}}}\n\n"
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
            "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
            "event: ping\ndata: {\"type\":\"ping\"}\n\n");
    case CHAT:
        return sprintf(to, CHOICE("{\"role\":\"assistant\",\"content\":\"\"}", "null"));
    default:
        return sprintf(to,
            "event: response.created\ndata: {\"type\":\"response.created\","
            "\"sequence_number\":0," RESPONSE("in_progress") ",\"output\":[]}}\n\n"
            "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\","
            "\"sequence_number\":1,\"output_index\":0,\"item\":{\"id\":\"msg_bench\","
            "\"type\":\"message\",\"status\":\"in_progress\",\"role\":\"assistant\","
            "\"content\":[]}}\n\n"
            "event: response.content_part.added\ndata: {\"type\":\"response.content_part.added\","
            "\"sequence_number\":2,\"item_id\":\"msg_bench\",\"output_index\":0,"
            "\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"\","
            "\"annotations\":[]}}\n\n");
    }
}

static int delta(struct client *c, char *to) {
    long long stamp = now_ns();
    switch (c->dialect) {
    case ANTHROPIC:
        return sprintf(to,
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
            "\"delta\":{\"type\":\"text_delta\",\"text\":\"#%lld# \"}}\n\n", stamp);
    case CHAT:
        return sprintf(to, CHOICE("{\"content\":\"#%lld# \"}", "null"), stamp);
    default:
        return sprintf(to,
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\","
            "\"sequence_number\":%d,\"item_id\":\"msg_bench\",\"output_index\":0,"
            "\"content_index\":0,\"delta\":\"#%lld# \"}\n\n", c->sent + 3, stamp);
    }
}

static int closing(struct client *c, char *to) {
    int n = c->sent;
    switch (c->dialect) {
    case ANTHROPIC:
        return sprintf(to,
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{"
            "\"stop_reason\":\"end_turn\",\"stop_sequence\":null},"
            "\"usage\":{\"output_tokens\":%d}}\n\n"
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", n);
    case CHAT:
        return sprintf(to,
            CHOICE("{}", "\"stop\"") CHUNK
            "\"choices\":[],\"usage\":{\"prompt_tokens\":25,\"completion_tokens\":%d,"
            "\"total_tokens\":%d}}\n\ndata: [DONE]\n\n", n, n + 25);
    default:
        return sprintf(to,
            "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\","
            "\"sequence_number\":%d,\"output_index\":0,\"item\":{\"id\":\"msg_bench\","
            "\"type\":\"message\",\"status\":\"completed\",\"role\":\"assistant\","
            "\"content\":[{\"type\":\"output_text\",\"text\":\"x\",\"annotations\":[]}]}}\n\n"
            "event: response.completed\ndata: {\"type\":\"response.completed\","
            "\"sequence_number\":%d," RESPONSE("completed") ",\"output\":[],"
            "\"usage\":{\"input_tokens\":25,\"output_tokens\":%d,\"total_tokens\":%d}}}\n\n",
            n + 3, n + 4, n, n + 25);
    }
}

static int whole(enum dialect dialect, char *to) {
    static char text[1200];
    if (!text[0])
        for (size_t i = 0; i + 1 < sizeof text; i++) text[i] = "All work and no play. "[i % 22];
    switch (dialect) {
    case ANTHROPIC:
        return sprintf(to,
            "{\"id\":\"msg_01Bench\",\"type\":\"message\",\"role\":\"assistant\","
            "\"model\":\"claude-sonnet-4-5\",\"content\":[{\"type\":\"text\",\"text\":\"%s\"}],"
            "\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":25,"
            "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,"
            "\"output_tokens\":250}}", text);
    case CHAT:
        return sprintf(to,
            "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1763600000,"
            "\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
            "\"content\":\"%s\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
            "\"usage\":{\"prompt_tokens\":25,\"completion_tokens\":250,\"total_tokens\":275},"
            "\"system_fingerprint\":\"fp_bench\"}", text);
    default:
        return sprintf(to,
            "{\"id\":\"resp_bench\",\"object\":\"response\",\"created_at\":1763600000,"
            "\"status\":\"completed\",\"model\":\"gpt-4o\",\"output\":[{\"id\":\"msg_bench\","
            "\"type\":\"message\",\"status\":\"completed\",\"role\":\"assistant\","
            "\"content\":[{\"type\":\"output_text\",\"text\":\"%s\",\"annotations\":[]}]}],"
            "\"usage\":{\"input_tokens\":25,\"output_tokens\":250,\"total_tokens\":275}}", text);
    }
}

/* --- answering ------------------------------------------------------------------------------- */

static void leave_ring(struct client *c) {
    if (!c->next_stream) return;
    c->previous_stream->next_stream = c->next_stream;
    c->next_stream->previous_stream = c->previous_stream;
    c->next_stream = c->previous_stream = NULL;
}

static void join_ring(struct client *c) {
    if (c->next_stream) return;
    c->next_stream = &ring;
    c->previous_stream = ring.previous_stream;
    ring.previous_stream->next_stream = c;
    ring.previous_stream = c;
}

/* Send the deltas that are due; a full socket goes on when it has room again. */
static void advance(struct client *c) {
    char text[4096];
    while (c->left && !c->gone && !c->waits_to_write) {
        if (c->gap && c->due > now_ns()) {
            join_ring(c);
            return;
        }
        put_chunk(c, text, delta(c, text));
        c->sent++;
        c->due += c->gap;
        if (!--c->left) {
            put_chunk(c, text, closing(c, text));
            append(&c->out, "0\r\n\r\n", 5);
            leave_ring(c);
        }
        send_out(c);
    }
}

static int contains(const char *text, size_t size, const char *word) {
    return memmem(text, size, word, strlen(word)) != NULL;
}

static void put_json(struct client *c, const char *body, int size) {
    char head[256];
    append(&c->out, head, sprintf(head,
        "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 09:00:00 GMT\r\n"
        "content-type: application/json\r\nrequest-id: req_bench\r\n"
        "content-length: %d\r\n\r\n", size));
    append(&c->out, body, size);
    send_out(c);
}

static void answer(struct client *c, const char *head, const char *body, size_t size) {
    char text[4096];
    size_t line = strcspn(head, "\r");
    if (strncmp(head, "POST ", 5)) {
        put_json(c, text, sprintf(text, "{\"object\":\"list\",\"data\":[]}"));
        return;
    }
    c->dialect = contains(head, line, "/messages")    ? ANTHROPIC
                 : contains(head, line, "/responses") ? RESPONSES
                                                      : CHAT;
    if (!contains(body, size, "\"stream\":true") && !contains(body, size, "\"stream\": true")) {
        put_json(c, text, whole(c->dialect, text));
        return;
    }
    int n = 200, gap_ms = 0;
    const char *wish = memmem(body, size, "BENCH ", 6);
    if (wish) sscanf(wish, "BENCH n=%d gap=%d;", &n, &gap_ms);
    c->left = n < 1 ? 1 : n;
    c->sent = 0;
    c->gap = gap_ms * 1000000LL;
    c->due = now_ns() + c->gap;
    append(&c->out, text, sprintf(text,
        "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 09:00:00 GMT\r\n"
        "content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
        "request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n"));
    put_chunk(c, text, opening(c->dialect, text));
    send_out(c);
    advance(c);
}

/* Answer the requests that are complete. Bodies have a Content-Length, or are chunked in the form
 * that ends with the usual last chunk, of which only the end is looked for. */
static void serve(struct client *c) {
    struct buffer *b = &c->in;
    while (!c->left && !c->gone && b->start < b->end) {
        reserve(b, 1);
        b->data[b->end] = 0; /* strcasestr and sscanf stop here */
        char *head = b->data + b->start;
        char *body = memmem(head, b->end - b->start, "\r\n\r\n", 4);
        if (!body) return;
        body[2] = 0; /* keeps the search below inside the head */
        body += 4;
        size_t have = b->data + b->end - body, size = 0;
        const char *length = strcasestr(head, "\r\ncontent-length:");
        if (length) {
            size = strtoul(length + 17, NULL, 10);
        } else if (strcasestr(head, "\r\ntransfer-encoding: chunked")) {
            const char *end = memmem(body - 2, have + 2, "\r\n0\r\n\r\n", 7);
            size = end ? (size_t)(end + 7 - body) : have + 1;
        }
        if (have < size) {
            body[-2] = '\r';
            return;
        }
        b->start = body + size - b->data;
        answer(c, head, body, size);
    }
}

static void receive(struct client *c) {
    for (;;) {
        reserve(&c->in, 65536);
        ssize_t n = recv(c->fd, c->in.data + c->in.end, 65535, 0);
        if (n > 0) {
            c->in.end += n;
        } else if (n < 0 && errno == EAGAIN) {
            break;
        } else if (n == 0 || errno != EINTR) {
            c->gone = 1;
            return;
        }
    }
    serve(c);
}

static void drop(struct client *c) {
    leave_ring(c);
    close(c->fd);
    free(c->in.data);
    free(c->out.data);
    free(c);
}

static void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        no_delay(fd);
        struct client *c = must(calloc(1, sizeof *c));
        c->fd = fd;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
    }
}

static struct timespec until_next(void) {
    int64_t wait = 10000000000LL, now = now_ns();
    for (struct client *c = ring.next_stream; c != &ring; c = c->next_stream)
        if (!c->waits_to_write && c->due - now < wait) wait = c->due - now;
    if (wait < 0) wait = 0;
    return (struct timespec){wait / 1000000000, wait % 1000000000};
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    raise_file_limit();
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = loopback(atoi(arguments[1]));
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("mock");
        return 1;
    }
    poller = epoll_create1(0);
    struct epoll_event first = {.events = EPOLLIN}, events[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &first);
    for (;;) {
        struct timespec wait = until_next();
        int n = epoll_pwait2(poller, events, 256, &wait, NULL);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (!c) {
                accept_all(listener);
                continue;
            }
            if (events[i].events & EPOLLOUT) {
                send_out(c);
                advance(c);
                if (!c->left) serve(c);
            }
            if (!c->gone && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(c);
            if (c->gone) drop(c);
        }
        int64_t now = now_ns();
        for (struct client *c = ring.next_stream, *next; c != &ring; c = next) {
            next = c->next_stream;
            if (c->due > now) continue;
            advance(c);
            if (!c->left) serve(c);
            if (c->gone) drop(c);
        }
    }
}

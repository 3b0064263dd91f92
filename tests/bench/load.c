/* Load generator: a closed loop over a number of connections, one thread, HTTP/1.1 keep-alive.
 *
 *   load PORT CONNECTIONS REQUESTS FILE [RAMP_US [SECONDS]]
 *
 * FILE holds one complete request, which is sent REQUESTS times in all. A new connection joins
 * every RAMP_US microseconds; no request starts after SECONDS. Prints one JSON object: times in
 * microseconds, "delay" from the mock's write of a delta to our read of it.
 */
#include "wire.h"

enum state { HEAD, BODY, SIZE, DATA, TRAILER };

struct link {
    int fd;
    enum state state;
    size_t written;        /* of the request */
    int64_t started, left; /* when; bytes of body or chunk still to come */
    int status, closes, chunked, reused, stamped, deltas;
    int64_t stamp;
    size_t filled;
    char line[8192]; /* the head, later a line of the chunked coding */
};

struct sample {
    double *values;
    size_t count, room;
};

static int poller, port;
static char *request;
static size_t request_size;
static long wanted, started, finished, succeeded, failed, deltas;
static int64_t deadline, read_at;
static struct sample latency, first_delta, delay;
static char trouble[160];

static void add(struct sample *s, double value) {
    if (s->count == s->room) {
        s->room = s->room * 2 + 4096;
        s->values = must(realloc(s->values, s->room * sizeof *s->values));
    }
    s->values[s->count++] = value;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(struct sample *s, double q) {
    if (!s->count) return -1;
    qsort(s->values, s->count, sizeof *s->values, compare);
    return s->values[(size_t)(q * (s->count - 1) + 0.5)];
}

static void write_request(struct link *l) {
    while (l->written < request_size) {
        ssize_t n = send(l->fd, request + l->written, request_size - l->written, 0);
        if (n <= 0) return;
        l->written += n;
    }
}

static void connect_link(struct link *l) {
    l->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    no_delay(l->fd);
    l->reused = 0;
    l->written = 0;
    struct sockaddr_in address = loopback(port);
    connect(l->fd, (struct sockaddr *)&address, sizeof address);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = l};
    epoll_ctl(poller, EPOLL_CTL_ADD, l->fd, &e);
}

static void disconnect(struct link *l) {
    if (l->fd >= 0) close(l->fd);
    l->fd = -1;
}

static void begin(struct link *l) {
    if (started >= wanted || now_ns() > deadline) {
        disconnect(l);
        return;
    }
    started++;
    l->state = HEAD;
    l->written = l->filled = 0;
    l->status = l->closes = l->chunked = l->stamped = l->deltas = 0;
    l->started = now_ns();
    if (l->fd < 0)
        connect_link(l);
    else
        write_request(l);
}

static void note(const char *what, int status, const char *text, size_t size) {
    if (trouble[0]) return;
    snprintf(trouble, sizeof trouble, "%s, status %d %.*s", what, status, (int)size, text);
    for (char *c = trouble; *c; c++)
        if (*c == '"' || *c == '\\' || *c < ' ') *c = ' ';
}

static void end(struct link *l, int whole) {
    finished++;
    if (whole && l->status == 200) {
        succeeded++;
        add(&latency, (read_at - l->started) / 1e3);
    } else {
        failed++;
        note(whole ? "refused" : "cut off", l->status, "", 0);
    }
    if (l->closes || !whole) disconnect(l);
    l->reused = 1;
    begin(l);
}

/* Look for stamps; one may be split over reads. */
static void scan(struct link *l, const char *text, size_t size) {
    for (const char *stop = text + size; text < stop; text++) {
        if (!l->stamped) {
            text = memchr(text, STAMP, stop - text);
            if (!text) return;
            l->stamped = 1;
            l->stamp = 0;
        } else if (*text >= '0' && *text <= '9') {
            l->stamp = l->stamp * 10 + (*text - '0');
        } else {
            if (*text == STAMP && l->stamp) {
                if (!l->deltas++) add(&first_delta, (read_at - l->started) / 1e3);
                deltas++;
                add(&delay, (read_at - l->stamp) / 1e3);
            }
            l->stamped = 0;
        }
    }
}

/* Take one byte of a line; true when the line, without its end, is in l->line. */
static int line_is_complete(struct link *l, char c) {
    if (c != '\n') {
        if (c != '\r' && l->filled + 1 < sizeof l->line) l->line[l->filled++] = c;
        return 0;
    }
    l->line[l->filled] = 0;
    l->filled = 0;
    return 1;
}

static int head_line(struct link *l) {
    const char *line = l->line;
    if (!l->status) {
        l->status = atoi(line + 9);
        l->left = 0;
    } else if (!strncasecmp(line, "content-length:", 15)) {
        l->left = atoll(line + 15);
    } else if (!strncasecmp(line, "transfer-encoding: chunked", 26)) {
        l->chunked = 1;
    } else if (!strncasecmp(line, "connection: close", 17)) {
        l->closes = 1;
    } else if (!*line) {
        l->state = l->chunked ? SIZE : BODY;
        return !l->chunked && !l->left;
    }
    return 0;
}

/* Read a piece of an answer; true when the answer is complete. */
static int feed(struct link *l, const char *text, size_t size) {
    while (size) {
        if (l->state == BODY || l->state == DATA) {
            size_t n = (int64_t)size < l->left ? size : (size_t)l->left;
            if (l->status != 200) note("refused", l->status, text, n);
            scan(l, text, n);
            text += n;
            size -= n;
            l->left -= n;
            if (l->left) return 0;
            if (l->state == BODY) return 1;
            l->state = SIZE;
            continue;
        }
        size--;
        if (!line_is_complete(l, *text++)) continue;
        if (l->state == HEAD) {
            if (head_line(l)) return 1;
        } else if (l->state == TRAILER) {
            if (!*l->line) return 1;
        } else if (*l->line) { /* not the line end behind a chunk */
            l->left = strtoll(l->line, NULL, 16);
            l->state = l->left ? DATA : TRAILER;
        }
    }
    return 0;
}

static void receive(struct link *l) {
    static char piece[262144];
    for (;;) {
        int fd = l->fd;
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        read_at = now_ns();
        if (n > 0) {
            if (feed(l, piece, n)) end(l, 1);
            if (l->fd != fd) return;
        } else if (n < 0 && errno == EAGAIN) {
            return;
        } else if (n == 0 || errno != EINTR) {
            disconnect(l);
            if (l->reused && l->state == HEAD && !l->status && !l->filled)
                connect_link(l); /* the server closed an idle connection */
            else
                end(l, 0);
            return;
        }
    }
}

static void read_request(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    fseek(file, 0, SEEK_END);
    request_size = ftell(file);
    rewind(file);
    request = must(malloc(request_size));
    if (fread(request, 1, request_size, file) != request_size) exit(1);
    fclose(file);
}

int main(int count, char **arguments) {
    if (count < 5) return 2;
    raise_file_limit();
    port = atoi(arguments[1]);
    int connections = atoi(arguments[2]), joined = 0;
    wanted = atol(arguments[3]);
    read_request(arguments[4]);
    int64_t ramp = count > 5 ? atoll(arguments[5]) * 1000 : 0;
    int64_t begun = now_ns();
    deadline = begun + (int64_t)((count > 6 ? atof(arguments[6]) : 60) * 1e9);
    poller = epoll_create1(0);
    struct link *links = must(calloc(connections, sizeof *links));
    struct epoll_event events[512];
    /* what was started may end up to 30 s late; what does not end counts as failed */
    while ((joined < connections || finished < started) && now_ns() < deadline + 30000000000LL) {
        while (joined < connections && now_ns() - begun >= joined * ramp) {
            links[joined].fd = -1;
            begin(&links[joined++]);
        }
        int n = epoll_wait(poller, events, 512, joined < connections ? 1 : 100);
        for (int i = 0; i < n; i++) {
            struct link *l = events[i].data.ptr;
            if (l->fd >= 0 && events[i].events & EPOLLOUT) write_request(l);
            if (l->fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(l);
        }
    }
    printf("{\"requests\":%ld,\"succeeded\":%ld,\"failed\":%ld,\"seconds\":%.4f,\"deltas\":%ld,"
           "\"latency_p50\":%.1f,\"latency_p99\":%.1f,\"first_p50\":%.1f,\"first_p99\":%.1f,"
           "\"delay_p50\":%.1f,\"delay_p99\":%.1f,\"trouble\":\"%s\"}\n",
           started, succeeded, failed + started - finished, (now_ns() - begun) / 1e9, deltas,
           quantile(&latency, .5), quantile(&latency, .99), quantile(&first_delta, .5),
           quantile(&first_delta, .99), quantile(&delay, .5), quantile(&delay, .99), trouble);
    return 0;
}

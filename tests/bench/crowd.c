#include "crowd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/env.h"
#include "bench.h"

enum {
    BATCH = 64,
    SLOT_BYTES = 2048,
    LOST_MS = 200, /* silence for so long: what is unanswered never will be */
    BUFFER = 4 * 1024 * 1024,
    NODES_AT = 3, /* second bytes of addresses: of the nodes, … */
    ASKERS_AT = 64,
    NETS = 32768,     /* of the askers */
    TID_TAIL = 4 + 7, /* behind a question's transaction id: "1:y1:qe" */
};

static const char query_1[] = "d1:ad2:id20:", query_2[] = "6:target20:",
                  query_3[] = "e1:q9:find_node1:t4:", query_4[] = "1:y1:qe";

struct slot {
    bool busy;
    uint16_t turn;
    const struct dht_id *target; /* of crowd_known: the node that should be named */
};

struct crowd {
    int fd;
    struct krpc_node nodes[CROWD_NODES], askers[CROWD_ASKERS];
    struct slot slots[CROWD_WINDOW];
    size_t next_asker, next_known;
    uint64_t random;
    bool asking, looking;
    size_t busy, known;
    struct sockaddr_in server;
    struct crowd_result result;

    struct mmsghdr in[BATCH], out[BATCH];
    struct iovec in_v[BATCH], out_v[BATCH];
    struct sockaddr_in in_from[BATCH], out_to[BATCH];
    char in_c[BATCH][64] __attribute__((aligned(8)));
    char out_c[BATCH][64] __attribute__((aligned(8)));
    uint8_t in_b[BATCH][SLOT_BYTES], out_b[BATCH][SLOT_BYTES];
    size_t n_out;
};

/* ---- life ---- */

/* Node i of those whose addresses begin at a second byte. */
static void make_node(struct krpc_node *n, unsigned second, size_t i)
{
    n->addr = (struct addr){.family = 4, .port = CROWD_PORT};
    n->addr.ip[0] = CROWD_NET;
    n->addr.ip[1] = (uint8_t)(second + (i % NETS >> 8));
    n->addr.ip[2] = (uint8_t)i;
    n->addr.ip[3] = (uint8_t)(1 + i / NETS);
    dht_id_for_addr(env_system(), &n->addr, &n->id); /* BEP 42 */
}

static int open_socket(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(CROWD_PORT)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1, size = BUFFER;
    if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) != 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        bench_die("the crowd's socket: %s", strerror(errno));
    }
    return fd;
}

struct crowd *crowd_new(void)
{
    struct crowd *c = calloc(1, sizeof *c);
    if (c == NULL) {
        bench_die("out of memory");
    }
    c->fd = open_socket();
    env_random(env_system(), &c->random, sizeof c->random);
    c->random |= 1;
    for (size_t i = 0; i < CROWD_NODES; i++) {
        make_node(&c->nodes[i], NODES_AT, i);
    }
    for (size_t i = 0; i < CROWD_ASKERS; i++) {
        make_node(&c->askers[i], ASKERS_AT, i);
    }
    return c;
}

void crowd_free(struct crowd *c)
{
    if (c != NULL) {
        (void)close(c->fd);
        free(c);
    }
}

const struct krpc_node *crowd_node(const struct crowd *c, size_t i)
{
    return &c->nodes[i];
}

static uint64_t draw(struct crowd *c)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return c->random;
}

/* ---- datagrams ---- */

static void flush(struct crowd *c)
{
    for (size_t done = 0; done < c->n_out;) {
        int n = sendmmsg(c->fd, c->out + done, (unsigned)(c->n_out - done), 0);
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            bench_die("the crowd's socket: %s", strerror(errno));
        }
        done += n > 0 ? (size_t)n : 0;
    }
    c->n_out = 0;
}

/* Room for the next datagram, from an address of the crowd's. */
static uint8_t *prepare(struct crowd *c, const struct addr *from,
                        const struct sockaddr_in *to)
{
    if (c->n_out == BATCH) {
        flush(c);
    }
    size_t i = c->n_out;
    struct in_pktinfo info = {.ipi_ifindex = 0};
    memcpy(&info.ipi_spec_dst, from->ip, sizeof info.ipi_spec_dst);
    c->out_to[i] = *to;
    c->out_v[i].iov_base = c->out_b[i];
    c->out[i].msg_hdr = (struct msghdr){
        .msg_name = &c->out_to[i],
        .msg_namelen = sizeof c->out_to[i],
        .msg_iov = &c->out_v[i],
        .msg_iovlen = 1,
        .msg_control = c->out_c[i],
        .msg_controllen = CMSG_SPACE(sizeof info),
    };
    struct cmsghdr *m = CMSG_FIRSTHDR(&c->out[i].msg_hdr);
    m->cmsg_level = IPPROTO_IP;
    m->cmsg_type = IP_PKTINFO;
    m->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(m), &info, sizeof info);
    return c->out_b[i];
}

static void queue(struct crowd *c, size_t len)
{
    c->out_v[c->n_out++].iov_len = len;
}

static uint8_t *put(uint8_t *p, const void *bytes, size_t n)
{
    return (uint8_t *)memcpy(p, bytes, n) + n;
}

/* ---- the nodes' part ---- */

/* The node or asker at an address; NULL: nobody. */
static const struct krpc_node *at(const struct crowd *c, const uint8_t ip[4])
{
    size_t asker = (size_t)(ip[1] - ASKERS_AT) << 8 | ip[2];
    asker += (size_t)(ip[3] - 1) * NETS;
    if (ip[1] == NODES_AT && ip[2] < CROWD_NODES) {
        return &c->nodes[ip[2]];
    }
    return ip[1] >= ASKERS_AT && asker < CROWD_ASKERS ? &c->askers[asker] : NULL;
}

/* The nodes closest to target, in compact form. */
static size_t closest(const struct crowd *c, const struct dht_id *target,
                      uint8_t out[CROWD_NAMED * KRPC_NODE4_LEN])
{
    const struct krpc_node *best[CROWD_NAMED];
    size_t n = 0;
    for (size_t i = 0; i < CROWD_NODES; i++) {
        const struct krpc_node *node = &c->nodes[i];
        size_t k = n < CROWD_NAMED ? n++ : CROWD_NAMED;
        for (; k > 0 && dht_id_cmp(target, &node->id, &best[k - 1]->id) < 0; k--) {
            if (k < CROWD_NAMED) {
                best[k] = best[k - 1];
            }
        }
        if (k < CROWD_NAMED) {
            best[k] = node;
        }
    }
    for (size_t i = 0; i < n; i++) {
        (void)krpc_pack_node(best[i], out + i * KRPC_NODE4_LEN);
    }
    return n * KRPC_NODE4_LEN;
}

static void answer(struct crowd *c, const struct krpc_msg *q, const struct krpc_node *me,
                   const struct sockaddr_in *from)
{
    uint8_t compact[CROWD_NAMED * KRPC_NODE4_LEN];
    struct krpc_msg r;
    struct addr to;
    if (addr_from_sockaddr((const struct sockaddr *)from, &to) != 0) {
        return;
    }
    krpc_reply_init(&r, q, &to, &me->id);
    const struct dht_id *target = (q->has & KRPC_TARGET) != 0      ? &q->target
                                  : (q->has & KRPC_INFO_HASH) != 0 ? &q->info_hash
                                                                   : NULL;
    if (target != NULL) {
        r.nodes = (struct krpc_view){compact, closest(c, target, compact)};
        r.has |= KRPC_NODES;
    }
    if (q->method == KRPC_GET_PEERS || q->method == KRPC_GET) {
        r.token = (struct krpc_view){(const uint8_t *)"crowd", 5};
        r.has |= KRPC_TOKEN;
    }
    queue(c, krpc_encode(&r, prepare(c, &me->addr, from), SLOT_BYTES));
}

/* ---- the askers' part ---- */

static void ask(struct crowd *c, size_t i)
{
    struct slot *s = &c->slots[i];
    const struct krpc_node *me = c->looking ? &c->nodes[(c->next_known + 1) % CROWD_NODES]
                                            : &c->askers[c->next_asker++ % CROWD_ASKERS];
    uint8_t target[DHT_ID_LEN], tid[CROWD_TID], *p = prepare(c, &me->addr, &c->server);
    const uint8_t *start = p;
    for (size_t k = 0; k < sizeof target; k += sizeof(uint32_t)) {
        uint32_t part = (uint32_t)(draw(c) >> 16);
        memcpy(target + k, &part, sizeof part);
    }
    s->busy = true;
    s->turn++;
    s->target = NULL;
    c->busy++;
    if (c->looking) {
        s->target = &c->nodes[c->next_known++].id;
        memcpy(target, s->target->b, sizeof target);
    }
    tid[0] = (uint8_t)(i >> 8);
    tid[1] = (uint8_t)i;
    tid[2] = (uint8_t)(s->turn >> 8);
    tid[3] = (uint8_t)s->turn;
    p = put(p, query_1, sizeof query_1 - 1);
    p = put(p, me->id.b, DHT_ID_LEN);
    p = put(p, query_2, sizeof query_2 - 1);
    p = put(p, target, sizeof target);
    p = put(p, query_3, sizeof query_3 - 1);
    p = put(p, tid, sizeof tid);
    p = put(p, query_4, sizeof query_4 - 1);
    queue(c, (size_t)(p - start));
}

size_t crowd_question_tid_at(size_t len)
{
    return len - TID_TAIL;
}

static void ask_on(struct crowd *c, size_t i)
{
    if (c->asking && (!c->looking || c->next_known < CROWD_NODES)) {
        ask(c, i);
    }
}

/* The slot whose question m answers; NULL: none. */
static struct slot *slot_of(struct crowd *c, const struct krpc_msg *m)
{
    if (m->t.n != CROWD_TID) {
        return NULL;
    }
    size_t i = (size_t)m->t.p[0] << 8 | m->t.p[1];
    uint16_t turn = (uint16_t)(m->t.p[2] << 8 | m->t.p[3]);
    return i < CROWD_WINDOW && c->slots[i].busy && c->slots[i].turn == turn ? &c->slots[i]
                                                                            : NULL;
}

static bool names(struct krpc_view nodes, const struct dht_id *id)
{
    struct krpc_node n;
    while (krpc_node_next(&nodes, 4, &n)) {
        if (dht_id_eq(&n.id, id)) {
            return true;
        }
    }
    return false;
}

static void answered(struct crowd *c, const struct krpc_msg *m)
{
    struct slot *s = slot_of(c, m);
    uint32_t needed = KRPC_ID | KRPC_NODES;
    if (s == NULL || m->kind != KRPC_REPLY || (m->has & needed) != needed) {
        c->result.wrong++;
        return;
    }
    c->result.answers++;
    c->result.named += m->nodes.n / KRPC_NODE4_LEN;
    c->known += s->target != NULL && names(m->nodes, s->target) ? 1 : 0;
    s->busy = false;
    c->busy--;
    ask_on(c, (size_t)(s - c->slots));
}

/* ---- turns ---- */

static const uint8_t *sent_to(struct msghdr *h)
{
    for (struct cmsghdr *m = CMSG_FIRSTHDR(h); m != NULL; m = CMSG_NXTHDR(h, m)) {
        if (m->cmsg_level == IPPROTO_IP && m->cmsg_type == IP_PKTINFO) {
            return CMSG_DATA(m) + offsetof(struct in_pktinfo, ipi_addr);
        }
    }
    return NULL;
}

static void take(struct crowd *c, size_t i)
{
    struct krpc_msg m;
    const uint8_t *to = sent_to(&c->in[i].msg_hdr);
    const struct sockaddr_in *from = &c->in_from[i];
    const struct krpc_node *me = to == NULL ? NULL : at(c, to);
    bool ours = from->sin_addr.s_addr == c->server.sin_addr.s_addr;
    if (me == NULL) {
        return;
    }
    if (krpc_decode(c->in_b[i], c->in[i].msg_len, &m) != 0) {
        c->result.wrong += ours ? 1 : 0;
    } else if (m.kind == KRPC_QUERY) {
        answer(c, &m, me, from);
    } else if (ours) {
        answered(c, &m);
    }
}

/* Takes what is there; false: nothing came in LOST_MS. */
static bool turn(struct crowd *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    for (size_t i = 0; i < BATCH; i++) {
        c->in_v[i] = (struct iovec){c->in_b[i], SLOT_BYTES};
        c->in[i].msg_hdr = (struct msghdr){
            .msg_name = &c->in_from[i],
            .msg_namelen = sizeof c->in_from[i],
            .msg_iov = &c->in_v[i],
            .msg_iovlen = 1,
            .msg_control = c->in_c[i],
            .msg_controllen = sizeof c->in_c[i],
        };
    }
    int n = recvmmsg(c->fd, c->in, BATCH, MSG_DONTWAIT, NULL);
    if (n <= 0) {
        return poll(&p, 1, LOST_MS) != 0;
    }
    for (int i = 0; i < n; i++) {
        take(c, (size_t)i);
    }
    flush(c);
    return true;
}

void crowd_play(struct crowd *c, double seconds)
{
    double end = bench_now() + seconds;
    while (bench_now() < end) {
        (void)turn(c);
    }
}

void crowd_introduce(struct crowd *c, const struct addr *server)
{
    struct sockaddr_storage sa;
    struct sockaddr_in to;
    struct krpc_msg q;
    (void)addr_to_sockaddr(server, &sa);
    memcpy(&to, &sa, sizeof to);
    for (size_t i = 0; i < CROWD_NODES; i++) {
        const struct krpc_node *me = &c->nodes[i];
        krpc_query_init(&q, KRPC_PING, "hello", 5, &me->id);
        queue(c, krpc_encode(&q, prepare(c, &me->addr, &to), SLOT_BYTES));
        if (c->n_out == BATCH) { /* not more at once than a buffer holds */
            flush(c);
            (void)turn(c);
        }
    }
    flush(c);
}

static void fill(struct crowd *c)
{
    for (size_t i = 0; i < CROWD_WINDOW; i++) {
        if (c->slots[i].busy) {
            c->slots[i].busy = false;
            c->result.lost++;
        }
    }
    c->busy = 0;
    for (size_t i = 0; i < CROWD_WINDOW; i++) {
        ask_on(c, i);
    }
    flush(c);
}

/* Until the time is over and what was asked is answered, or lost. */
static void run(struct crowd *c, const struct addr *server, double seconds)
{
    struct sockaddr_storage sa;
    (void)addr_to_sockaddr(server, &sa);
    memcpy(&c->server, &sa, sizeof c->server);
    memset(&c->result, 0, sizeof c->result);
    double start = bench_now();
    c->asking = true;
    fill(c);
    while (c->asking || c->busy > 0) {
        c->asking = c->asking && bench_now() - start < seconds &&
                    (!c->looking || c->next_known < CROWD_NODES);
        if (!turn(c)) {
            fill(c);
        }
    }
    c->result.seconds = bench_now() - start;
}

void crowd_ask(struct crowd *c, const struct addr *server, double seconds,
               struct crowd_result *out)
{
    run(c, server, seconds);
    *out = c->result;
}

size_t crowd_known(struct crowd *c, const struct addr *server)
{
    c->next_known = c->known = 0;
    c->looking = true;
    run(c, server, 1);
    c->looking = false;
    return c->known;
}

size_t crowd_sample(const struct crowd *c, uint8_t out[KRPC_SEND_MAX], size_t *tid_at)
{
    static const uint8_t tid[CROWD_TID] = {0xfe, 0xdc, 0xba, 0x98};
    uint8_t compact[CROWD_NAMED * KRPC_NODE4_LEN];
    struct krpc_msg q, r;
    krpc_query_init(&q, KRPC_FIND_NODE, tid, sizeof tid, &c->askers[0].id);
    krpc_reply_init(&r, &q, &c->askers[0].addr, &c->nodes[0].id);
    r.nodes = (struct krpc_view){compact, closest(c, &c->askers[0].id, compact)};
    r.has |= KRPC_NODES;
    size_t len = krpc_encode(&r, out, KRPC_SEND_MAX);
    const uint8_t *found = memmem(out, len, tid, sizeof tid);
    if (found == NULL) {
        bench_die("no answer can be made");
    }
    *tid_at = (size_t)(found - out);
    return len;
}

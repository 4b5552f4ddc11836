// Requests: their lists of options, and what a port's specification means. The grammar is in libnetmap.h.
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libnetmap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

// ---- Options

// Options are linked through 64-bit words, whatever a pointer's size.
static struct nmreq_option *option_at(uint64_t address) { return (struct nmreq_option *)(uintptr_t)address; }

void nmreq_push_option(struct nmreq_header *header, struct nmreq_option *option) {
    option->nro_next = header->nr_options;
    header->nr_options = (uintptr_t)option;
}

struct nmreq_option *nmreq_find_option(struct nmreq_header *header, uint32_t reqtype) {
    struct nmreq_option *option;
    nmreq_foreach_option(header, option) {
        if (option->nro_reqtype == reqtype)
            return option;
    }
    return NULL;
}

void nmreq_remove_option(struct nmreq_header *header, struct nmreq_option *option) {
    uint64_t *link = &header->nr_options;
    while (*link && option_at(*link) != option)
        link = &option_at(*link)->nro_next;
    if (*link)
        *link = option->nro_next;
}

void nmreq_free_options(struct nmreq_header *header) {
    while (header->nr_options) {
        struct nmreq_option *option = option_at(header->nr_options);
        header->nr_options = option->nro_next;
        free(option);
    }
}

const char *nmreq_option_name(uint32_t reqtype) {
    switch (reqtype) {
    case NETMAP_REQ_OPT_EXTMEM:
        return "extmem";
    case NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS:
        return "sync-kloop-eventfds";
    case NETMAP_REQ_OPT_CSB:
        return "csb";
    case NETMAP_REQ_OPT_SYNC_KLOOP_MODE:
        return "sync-kloop-mode";
    case NETMAP_REQ_OPT_OFFSETS:
        return "offsets";
    default:
        return "unknown";
    }
}

// ---- Names

void nmreq_header_init(struct nmreq_header *header, uint16_t reqtype, void *body) {
    memset(header, 0, sizeof(*header));
    header->nr_version = NETMAP_API;
    header->nr_reqtype = reqtype;
    header->nr_body = (uintptr_t)body;
}

static int invalid(void) {
    errno = EINVAL;
    return -1;
}

static int is_identifier(const char *from, const char *to) {
    for (; from < to; from++)
        if (!isalnum((unsigned char)*from) && *from != '_')
            return 0;
    return 1;
}

int nmreq_header_decode(const char **at, struct nmreq_header *header, struct nmctx *ctx) {
    static const char netmap[] = "netmap", vale[] = NM_BDG_NAME;
    const char *spec = *at;
    const char *colon = strchr(spec, ':');
    if (!colon) {
        nmctx_ferror(ctx, "'%s': no ':' (a port is netmap:NAME or valeID:PORT)", spec);
        return invalid();
    }
    const char *name; // as the kernel takes it: without netmap:, with valeID:
    if (strncmp(spec, netmap, sizeof(netmap) - 1) == 0) {
        name = colon + 1;
        if (colon != spec + sizeof(netmap) - 1) {
            nmctx_ferror(ctx, "'%s': nothing may stand between netmap and ':'", spec);
            return invalid();
        }
    } else if (strncmp(spec, vale, sizeof(vale) - 1) == 0) {
        name = spec;
        if (!is_identifier(spec + sizeof(vale) - 1, colon)) {
            nmctx_ferror(ctx, "'%s': a switch's name takes letters, digits and _ only", spec);
            return invalid();
        }
    } else {
        nmctx_ferror(ctx, "'%s': not a netmap port (netmap:NAME or valeID:PORT)", spec);
        return invalid();
    }

    const char *port = colon + 1;
    const char *end = port + strcspn(port, "-*^/@");
    const char *pipe = port + strcspn(port, "{}");
    if (pipe < end) {
        if (pipe + 1 == end || !is_identifier(pipe + 1, end)) {
            nmctx_ferror(ctx, "'%s': a pipe's id is letters, digits and _, at least one", spec);
            return invalid();
        }
    } else {
        pipe = end;
    }
    if (pipe == port) {
        nmctx_ferror(ctx, "'%s': the port has no name", spec);
        return invalid();
    }
    size_t length = (size_t)(end - name);
    if (length >= sizeof(header->nr_name)) {
        nmctx_ferror(ctx, "'%s': the name is longer than %zu characters", spec, sizeof(header->nr_name) - 1);
        return invalid();
    }
    memset(header->nr_name, 0, sizeof(header->nr_name));
    memcpy(header->nr_name, name, length);
    *at = end;
    return 0;
}

// A number that is at most `limit`; leaves `*at` behind it.
static int number(const char **at, unsigned long limit, unsigned long *value) {
    if (!isdigit((unsigned char)**at))
        return -1;
    char *end;
    *value = strtoul(*at, &end, 10);
    *at = end;
    return *value <= limit ? 0 : -1;
}

static uint64_t flag_of(char letter) {
    switch (letter) {
    case 'x':
        return NR_EXCLUSIVE;
    case 'z':
        return NR_ZCOPY_MON;
    case 't':
        return NR_MONITOR_TX;
    case 'r':
        return NR_MONITOR_RX;
    case 'R':
        return NR_RX_RINGS_ONLY;
    case 'T':
        return NR_TX_RINGS_ONLY;
    default:
        return 0;
    }
}

int nmreq_register_decode(const char **at, struct nmreq_register *reg, struct nmctx *ctx) {
    enum { LAST_RING = NETMAP_RING_MASK - 1 };
    const char *spec = *at, *p = spec;
    uint32_t mode = NR_REG_ALL_NIC;
    uint64_t flags = 0;
    unsigned long ringid = 0, mem_id = reg->nr_mem_id;

    switch (*p) {
    case '*':
        p++;
        mode = NR_REG_NIC_SW;
        break;
    case '^':
        p++;
        mode = NR_REG_SW;
        if (isdigit((unsigned char)*p)) {
            mode = NR_REG_ONE_SW;
            if (number(&p, LAST_RING, &ringid)) {
                nmctx_ferror(ctx, "'%s': host rings are 0 to %d", spec, LAST_RING);
                return invalid();
            }
        }
        break;
    case '-':
        p++;
        mode = NR_REG_ONE_NIC;
        if (number(&p, LAST_RING, &ringid)) {
            nmctx_ferror(ctx, "'%s': - takes a ring, 0 to %d", spec, LAST_RING);
            return invalid();
        }
        break;
    }

    int slash = 0;
    while (*p) {
        if (*p == '/' && !slash && p[1] != '\0') {
            for (p++, slash = 1; *p && *p != '@'; p++) {
                if (flag_of(*p) == 0) {
                    nmctx_ferror(ctx, "'%s': unknown flag '%c' (x, z, t, r, R and T are known)", spec, *p);
                    return invalid();
                }
                flags |= flag_of(*p);
            }
        } else if (*p == '@' && isdigit((unsigned char)p[1])) {
            unsigned long id;
            p++;
            if (number(&p, 0xffff, &id) || id == 0) {
                nmctx_ferror(ctx, "'%s': a memory id is 1 to 65535", spec);
                return invalid();
            }
            if (mem_id != 0 && mem_id != id) {
                nmctx_ferror(ctx, "'%s': memory %lu, but also %lu", spec, mem_id, id);
                return invalid();
            }
            mem_id = id;
            slash = 0;
        } else if (*p == '@' && p[1] != '\0') {
            break; // options
        } else {
            nmctx_ferror(ctx, "'%s': cannot make sense of '%s'", spec, p);
            return invalid();
        }
    }

    reg->nr_mode = mode;
    reg->nr_ringid = (uint16_t)ringid;
    reg->nr_flags = flags;
    reg->nr_mem_id = (uint16_t)mem_id;
    *at = p;
    return 0;
}

int32_t nmreq_get_mem_id(const char **at, struct nmctx *ctx) {
    struct nmreq_header header;
    struct nmreq_port_info_get info;
    memset(&info, 0, sizeof(info));
    nmreq_header_init(&header, NETMAP_REQ_PORT_INFO_GET, &info);
    const char *rest = *at;
    if (nmreq_header_decode(&rest, &header, ctx))
        return -1;
    int fd = open(NETMAP_DEVICE_NAME, O_RDWR);
    if (fd < 0) {
        nmctx_ferror(ctx, "cannot open " NETMAP_DEVICE_NAME ": %s%s", strerror(errno), NM_NO_DEVICE(errno));
        return -1;
    }
    int result = ioctl(fd, NIOCCTRL, &header);
    int failure = errno;
    close(fd);
    errno = failure;
    if (result < 0) {
        nmctx_ferror(ctx, "cannot ask for the memory of %s: %s", header.nr_name, strerror(failure));
        return -1;
    }
    *at = rest;
    return info.nr_mem_id;
}

// ---- Options of a specification

static int same_key(const char *a, const char *b) {
    for (; *a && *b; a++, b++)
        if ((*a == '_' ? '-' : *a) != (*b == '_' ? '-' : *b))
            return 0;
    return *a == *b;
}

static int set_value(
    const struct nmreq_opt_parser *parser, const struct nmreq_opt_key *key, const char *value,
    struct nmreq_parse_ctx *parse) {
    if (parse->keys[key->id]) {
        nmctx_ferror(parse->ctx, "option %s: '%s' is given twice", parser->prefix, key->key);
        return invalid();
    }
    if ((!value || !*value) && !(key->flags & NMREQ_OPTK_ALLOWEMPTY)) {
        nmctx_ferror(parse->ctx, "option %s: '%s' needs a value", parser->prefix, key->key);
        return invalid();
    }
    parse->keys[key->id] = value ? value : "";
    return 0;
}

static int set_key(
    const struct nmreq_opt_parser *parser, const char *name, const char *value, struct nmreq_parse_ctx *parse) {
    for (int i = 0; i < parser->nr_keys; i++)
        if (same_key(parser->keys[i].key, name))
            return set_value(parser, &parser->keys[i], value, parse);
    nmctx_ferror(parse->ctx, "option %s: unknown key '%s'", parser->prefix, name);
    return invalid();
}

static int set_default_key(
    const struct nmreq_opt_parser *parser, const char *value, struct nmreq_parse_ctx *parse) {
    for (int i = 0; i < parser->nr_keys; i++)
        if (parser->keys[i].id == parser->default_key)
            return set_value(parser, &parser->keys[i], value, parse);
    nmctx_ferror(parse->ctx, "option %s: say which key: @%s:key=value", parser->prefix, parser->prefix);
    return invalid();
}

// "key=value,key=value"; cuts `text` up.
static int parse_keys(char *text, const struct nmreq_opt_parser *parser, struct nmreq_parse_ctx *parse) {
    char *next;
    for (char *key = text; key; key = next) {
        next = strchr(key, ',');
        if (next)
            *next++ = '\0';
        char *value = strchr(key, '=');
        if (value)
            *value++ = '\0';
        if (set_key(parser, key, value, parse))
            return -1;
    }
    return 0;
}

// One option without its '@'; cuts `text` up.
static int parse_option(char *text, struct nmreq_opt_parser *parsers, void *token, struct nmctx *ctx) {
    char *keys = text + strcspn(text, ":=");
    char separator = *keys;
    if (separator)
        *keys++ = '\0';

    struct nmreq_opt_parser *parser = parsers;
    while (parser && strcmp(parser->prefix, text) != 0)
        parser = parser->next;
    if (!parser) {
        char known[128] = "";
        size_t used = 0;
        for (parser = parsers; parser && used < sizeof(known); parser = parser->next)
            used += (size_t)snprintf(known + used, sizeof(known) - used, " %s", parser->prefix);
        nmctx_ferror(ctx, "unknown option '%s'; known are:%s", text, known);
        return invalid();
    }
    if (parser->flags & NMREQ_OPTF_DISABLED) {
        nmctx_ferror(ctx, "this program does not take the option %s", text);
        errno = EOPNOTSUPP;
        return -1;
    }

    struct nmreq_parse_ctx parse = { .ctx = ctx, .token = token };
    if (separator == '\0') {
        if (!(parser->flags & NMREQ_OPTF_ALLOWEMPTY)) {
            nmctx_ferror(ctx, "option %s needs keys: @%s:key=value", text, text);
            return invalid();
        }
    } else if (separator == '=') {
        if (set_default_key(parser, keys, &parse))
            return -1;
    } else if (parse_keys(keys, parser, &parse)) {
        return -1;
    }
    for (int i = 0; i < parser->nr_keys; i++) {
        const struct nmreq_opt_key *key = &parser->keys[i];
        if (key->flags & NMREQ_OPTK_MUSTSET && !parse.keys[key->id]) {
            nmctx_ferror(ctx, "option %s: '%s' is missing", text, key->key);
            return invalid();
        }
    }
    return parser->parse(&parse);
}

int nmreq_options_decode(const char *options, struct nmreq_opt_parser *parsers, void *token, struct nmctx *ctx) {
    if (*options == '\0')
        return 0;
    if (*options != '@') {
        nmctx_ferror(ctx, "'%s': an option begins with '@'", options);
        return invalid();
    }
    size_t size = strlen(options) + 1;
    char *copy = nmctx_malloc(ctx, size);
    if (!copy) {
        errno = ENOMEM;
        return -1;
    }
    memcpy(copy, options, size);
    int result = 0;
    char *next;
    for (char *option = copy + 1; option && result == 0; option = next) {
        next = strchr(option, '@');
        if (next)
            *next++ = '\0';
        if (*option == '\0') {
            nmctx_ferror(ctx, "'%s': an option is empty", options);
            result = invalid();
        } else {
            result = parse_option(option, parsers, token, ctx);
        }
    }
    int failure = errno;
    nmctx_free(ctx, copy);
    errno = failure;
    return result;
}

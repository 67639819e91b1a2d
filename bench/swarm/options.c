#include "options.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: swarm --node A.B.C.D:PORT [--node ...] [options], then commands on standard input (see main.c)\n"
    "  --clients N     connections of this process (100); client i is at node i modulo their number\n"
    "  --first I       the number of the first of them (0)\n"
    "  --members M     of each channel: client i is in channel i / M (all)\n"
    "  --size B        bytes of a payload, 40 to 4096 (100)\n"
    "  --plain         the protocol of the limit instead of Openline's\n"
    "  --silent        clients only publish, client i into channel i\n"
    "  --all-nodes     each message is said to every node\n"
    "  --sources K     loopback addresses to connect from (1)\n"
    "  --at-once N     handshakes under way (64)\n";

enum { NODE = 1, CLIENTS, FIRST, MEMBERS, SIZE, PLAIN, SILENT, ALL_NODES, SOURCES, AT_ONCE };

static const struct option known[] = {
    {"node", 1, 0, NODE},     {"clients", 1, 0, CLIENTS}, {"first", 1, 0, FIRST},         {"members", 1, 0, MEMBERS},
    {"size", 1, 0, SIZE},     {"plain", 0, 0, PLAIN},     {"silent", 0, 0, SILENT},       {"all-nodes", 0, 0, ALL_NODES},
    {"sources", 1, 0, SOURCES}, {"at-once", 1, 0, AT_ONCE}, {0},
};

static void refuse(const char *what) {
    fprintf(stderr, "swarm: %s\n%s", what, usage);
    exit(2);
}

static int number(const char *text, int least, int most) {
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < least || value > most)
        refuse(text);
    return (int)value;
}

static struct sockaddr_in address(const char *text) {
    struct sockaddr_in found = {.sin_family = AF_INET};
    char host[32];
    const char *colon = strrchr(text, ':');
    if (!colon || colon - text >= (long)sizeof host)
        refuse(text);
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    found.sin_port = htons((uint16_t)number(colon + 1, 1, 65535));
    if (inet_pton(AF_INET, host, &found.sin_addr) != 1)
        refuse(text);
    return found;
}

static void set(struct options *options, int code, const char *text) {
    const int many = 10000000;
    switch (code) {
    case NODE:
        if (options->node_count == MAX_NODES)
            refuse("too many nodes");
        options->nodes[options->node_count++] = address(text);
        break;
    case CLIENTS: options->clients = number(text, 1, many); break;
    case FIRST: options->first = number(text, 0, many); break;
    case MEMBERS: options->members = number(text, 1, many); break;
    case SIZE: options->size = number(text, 40, 4096); break;
    case PLAIN: options->openline = 0; break;
    case SILENT: options->silent = 1; break;
    case ALL_NODES: options->all_nodes = 1; break;
    case SOURCES: options->sources = number(text, 1, 200); break;
    case AT_ONCE: options->at_once = number(text, 1, many); break;
    default: refuse("see the options:");
    }
}

struct options read_options(int argc, char **argv) {
    struct options options = {.clients = 100, .members = 10000000, .size = 100, .openline = 1, .sources = 1, .at_once = 64};
    for (int code; (code = getopt_long(argc, argv, "", known, NULL)) != -1;)
        set(&options, code, optarg);
    if (optind < argc || !options.node_count)
        refuse("needs --node, and nothing but options");
    return options;
}

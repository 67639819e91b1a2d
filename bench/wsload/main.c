/* wsload: a load client for message fan-out that is cheap enough to leave the server as the bottleneck.
 *
 * It opens N connections, drives one of five loads, and prints one JSON object with what it has measured.
 *   fanout  members publish into their channels, every member receives
 *   echo    every connection sends and waits for its own message
 *   paced   one publishes at a fixed pace, every member receives or polls; requests and bytes are counted
 *   idle    nothing is sent; the rate of connecting and memory are the figures
 *   hold    the same, but it prints "ready" and keeps the connections, reading, until its standard input ends
 *
 * It answers no pings: keep a run shorter than the server's patience (Openline and Socket.IO: 45 s).
 * Exit status: 0, 2 bad usage, 3 connections failed, 5 could not send, 6 stalled, 7 closed by the server,
 * 8 somebody received too much or too little.
 */
#include "connections.h"
#include "cost.h"
#include "load.h"
#include "options.h"
#include "paced.h"

#include <stdio.h>
#include <unistd.h>

enum { CONNECTIONS_FAILED = 3 };

struct opening_figures { double connects_per_s, cpu_us_per_connect, rss_kb_per_conn; };

/* Only the first line, and nothing that would end a JSON string. */
static void make_quotable(char *text) {
    for (; *text && *text != '\r' && *text != '\n'; text++)
        if (*text == '"' || *text == '\\' || (unsigned char)*text < ' ')
            *text = '\'';
    *text = 0;
}

static int open_all(struct connections *connections, const struct options *options, struct opening_figures *figures) {
    long memory = resident_kb(options);
    double cpu = cpu_seconds(options), began = now();
    if (open_connections(connections, options)) {
        fprintf(stderr, "{\"error\":\"handshakes stalled\",\"ready\":%d,\"failed\":%d}\n", connections->ready,
                connections->failed);
        return STALLED;
    }
    double took = now() - began, spent = cpu_seconds(options) - cpu;
    if (connections->failed) {
        make_quotable(connections->first_failure);
        fprintf(stderr, "{\"error\":\"%d of %d connections failed\",\"first\":\"%s\"}\n", connections->failed,
                options->clients, connections->first_failure);
        return CONNECTIONS_FAILED;
    }
    usleep((useconds_t)(options->hold * 1e6));
    figures->connects_per_s = options->clients / took;
    figures->cpu_us_per_connect = spent * 1e6 / options->clients;
    figures->rss_kb_per_conn = (double)(resident_kb(options) - memory) / options->clients;
    return 0;
}

static void print_load(const struct options *options, const struct figures *figures) {
    printf("\"size\":%d,\"window\":%d,\"deliveries\":%ld,\"deliveries_per_s\":%.0f,\"cpu_us_per_delivery\":%.3f,"
           "\"server_cpu_percent\":%.2f,",
           options->size, options->window, figures->deliveries, (double)figures->deliveries / figures->seconds,
           figures->cpu_seconds * 1e6 / (double)figures->deliveries, 100 * figures->cpu_seconds / figures->seconds);
    if (options->mode == FANOUT)
        printf("\"last_client_ms_p50\":%.2f,\"last_client_ms_p99\":%.2f,", figures->last_client_ms_p50,
               figures->last_client_ms_p99);
    if (options->mode == PACED)
        printf("\"requests_per_s\":%.1f,\"bytes_up_per_s\":%.0f,\"bytes_down_per_s\":%.0f,",
               (double)figures->requests / figures->seconds, (double)figures->bytes_up / figures->seconds,
               (double)figures->bytes_down / figures->seconds);
}

static void print_figures(const struct options *options, const struct figures *figures,
                          const struct opening_figures *opening) {
    printf("{\"mode\":\"%s\",\"clients\":%d,", mode_name(options->mode), options->clients);
    if (options->mode != IDLE)
        print_load(options, figures);
    printf("\"connects_per_s\":%.0f,\"cpu_us_per_connect\":%.1f,\"rss_kb_per_conn\":%.2f}\n",
           opening->connects_per_s, opening->cpu_us_per_connect, opening->rss_kb_per_conn);
}

int main(int argc, char **argv) {
    struct options options = read_options(argc, argv);
    struct connections connections;
    struct opening_figures opening;
    int status = open_all(&connections, &options, &opening);
    if (status)
        return status;
    drain(&connections, &options);
    if (options.mode == HOLD) {
        printf("ready\n");
        fflush(stdout);
        hold_open(&connections);
        return 0;
    }
    struct figures figures = {0};
    switch (options.mode) {
    case FANOUT: figures = fan_out(&connections, &options); break;
    case ECHO: figures = echo(&connections, &options); break;
    case PACED: figures = paced(&connections, &options); break;
    default: break;
    }
    print_figures(&options, &figures, &opening);
    return 0;
}

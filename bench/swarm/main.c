/* swarm: a load client for many nodes, which knows who has heard what. Several processes of it count on together.
 *
 * Unlike wsload it reads every frame: messages are numbered in their channel, so it tells what was lost and doubled; they
 * carry their moment, on a clock that all processes share, so it tells how late each came; and who loses its line takes
 * it up again at another node, with its secret and its position.
 *
 * Each line of standard input is a command, carried out when the one before has been; each has one line of JSON on
 * standard output when it is over:
 *   open            opens every line
 *   publish         one message into the first channel, without waiting for anybody
 *   await N         until all clients have message N of the first channel: {"last_ms"}
 *   drive W S       for S seconds, W messages in flight
 *   pace R S        for S seconds, R messages a second, whatever happens
 *   flood W S       for S seconds, each client with W unanswered messages in flight
 *   recover N       until everybody is there, and nobody at node N
 *   quiet S         until no message has come for S seconds
 *   tally           what came since the last tally
 *   published       how many messages this process has published, of all channels
 *   check N         how many messages, of N in each channel, clients have not got; 0: as many as this process published
 *   bye             closes every line in order
 * Exit status: 0 at the end of the input, 1 behind {"event":"error"}, 2 bad usage.
 */
#include "drive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS = 1024, STDIN = -1 };

struct command { char word[16]; double first, second; int64_t began; };

static void answer_tally(struct swarm *swarm) {
    struct tally *tally = &swarm->tally;
    printf("{\"event\":\"tally\",\"deliveries\":%ld,\"lost\":%ld,\"doubled\":%ld,\"gaps\":%ld,\"answers\":%ld,"
           "\"messages\":%ld,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"most_ms\":%.3f,\"last_p50_ms\":%.3f,"
           "\"last_p99_ms\":%.3f,\"fell\":%ld,\"back\":%ld,\"fresh\":%ld,\"unrecovered\":%ld,\"refused\":%ld}\n",
           tally->deliveries, tally->lost, tally->doubled, tally->gaps, tally->answers, tally->last.count,
           percentile(&tally->delivery, 0.5) / 1e3, percentile(&tally->delivery, 0.99) / 1e3,
           percentile(&tally->delivery, 1.0) / 1e3, percentile(&tally->last, 0.5) / 1e3,
           percentile(&tally->last, 0.99) / 1e3, swarm->fell, swarm->back, swarm->fresh, swarm->unrecovered,
           swarm->refused);
    forget(tally);
}

static long missing(const struct swarm *swarm, long published) {
    long sum = 0;
    for (int i = 0; i < swarm->options.clients; i++) {
        long wanted = published ? published : swarm->channels[channel_of(swarm, i)].published;
        sum += wanted - (long)(swarm->all[i].awaited - 1);
    }
    return sum;
}

static long published(const struct swarm *swarm) {
    long sum = 0;
    for (int i = 0; i < swarm->channel_count; i++)
        sum += swarm->channels[i].published;
    return sum;
}

static int all_have(const struct swarm *swarm, uint32_t number) {
    const struct channel *first = &swarm->channels[0];
    return first->number >= number && first->arrived == first->members;
}

static int somebody_at(const struct swarm *swarm, int node) {
    for (int i = 0; i < swarm->options.clients; i++)
        if (swarm->all[i].node == node)
            return 1;
    return 0;
}

static void begin(struct swarm *swarm, struct command *command) {
    int64_t stop_at = nanoseconds() + (int64_t)(command->second * 1e9);
    command->began = nanoseconds();
    if (!strcmp(command->word, "open"))
        open_all(swarm);
    else if (!strcmp(command->word, "publish"))
        publish(swarm, 0);
    else if (!strcmp(command->word, "drive"))
        begin_driving(swarm, (int)command->first, stop_at);
    else if (!strcmp(command->word, "pace"))
        begin_pacing(swarm, command->first, stop_at);
    else if (!strcmp(command->word, "flood"))
        begin_flooding(swarm, (int)command->first, stop_at);
    else if (!strcmp(command->word, "bye"))
        say_goodbye(swarm);
}

/* Whether it is over; then it has been answered. */
static int answer(struct swarm *swarm, const struct command *command) {
    const char *word = command->word;
    double took = (double)(nanoseconds() - command->began) / 1e9;
    if (!strcmp(word, "open")) {
        if (swarm->live < swarm->options.clients)
            return 0;
    } else if (!strcmp(word, "await")) {
        if (!all_have(swarm, (uint32_t)command->first))
            return 0;
        printf("{\"event\":\"await\",\"last_ms\":%.4f}\n", swarm->channels[0].last / 1e3);
        return 1;
    } else if (!strcmp(word, "drive") || !strcmp(word, "pace") || !strcmp(word, "flood")) {
        if (!is_over())
            return 0;
    } else if (!strcmp(word, "recover")) {
        if (swarm->live < swarm->options.clients || somebody_at(swarm, (int)command->first))
            return 0;
        printf("{\"event\":\"recover\",\"back\":%ld,\"back_at\":%.6f}\n", swarm->back, (double)swarm->back_at / 1e9);
        return 1;
    } else if (!strcmp(word, "quiet")) {
        int64_t since = swarm->heard_at > command->began ? swarm->heard_at : command->began;
        if ((double)(nanoseconds() - since) / 1e9 < command->first)
            return 0;
    } else if (!strcmp(word, "tally")) {
        answer_tally(swarm);
        return 1;
    } else if (!strcmp(word, "published")) {
        printf("{\"event\":\"published\",\"count\":%ld}\n", published(swarm));
        return 1;
    } else if (!strcmp(word, "check")) {
        printf("{\"event\":\"check\",\"missing\":%ld}\n", missing(swarm, (long)command->first));
        return 1;
    } else if (!strcmp(word, "bye")) {
        if (swarm->live)
            return 0;
    } else if (strcmp(word, "publish"))
        give_up("no such command");
    printf("{\"event\":\"%s\",\"seconds\":%.6f}\n", word, took);
    return 1;
}

static char input[4096];
static int input_size;

/* The next command that has been read; 0 where there is none. */
static int next_command(struct command *command) {
    char *end = memchr(input, '\n', (size_t)input_size);
    if (!end)
        return 0;
    *end = 0;
    *command = (struct command){0};
    if (sscanf(input, "%15s %lf %lf", command->word, &command->first, &command->second) < 1)
        give_up("an empty command");
    input_size -= (int)(end + 1 - input);
    memmove(input, end + 1, (size_t)input_size);
    return 1;
}

static void read_input(void) {
    ssize_t size = read(STDIN_FILENO, input + input_size, sizeof input - (size_t)input_size);
    if (size <= 0)
        exit(0);
    input_size += (int)size;
}

static void carry_out(struct swarm *swarm, struct command *command) {
    for (;;) {
        if (*command->word) {
            if (!answer(swarm, command))
                return;
            fflush(stdout);
            *command->word = 0;
        }
        if (!next_command(command))
            return;
        begin(swarm, command);
    }
}

int main(int argc, char **argv) {
    static struct epoll_event events[EVENTS];
    struct options options = read_options(argc, argv);
    struct swarm swarm = new_swarm(&options);
    struct command command = {0};
    struct epoll_event stdin_event = {.events = EPOLLIN, .data.u32 = (uint32_t)STDIN};
    epoll_ctl(swarm.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &stdin_event);
    for (;;) {
        int due = publish_what_is_due(&swarm), patience = *command.word ? 50 : -1;
        int wait = due >= 0 && (patience < 0 || due < patience) ? due : patience;
        int count = epoll_wait(swarm.epoll, events, EVENTS, wait);
        for (int i = 0; i < count; i++)
            if (events[i].data.u32 == (uint32_t)STDIN)
                read_input();
            else
                hear(&swarm, (int)events[i].data.u32, events[i].events);
        carry_out(&swarm, &command);
        dial_some(&swarm);
    }
}

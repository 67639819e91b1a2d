#include "drive.h"

#include <stdlib.h>

static struct {
    int64_t stop_at, began;
    double rate;
    long paced, under_way, id;
    int next, driving;
    int *publishers; /* of each channel, one for each node */
} now_driving;

/* Of each channel the first member at each node; -1 where it has none there. */
static void choose_publishers(struct swarm *swarm) {
    int nodes = swarm->options.node_count;
    now_driving.publishers = malloc((size_t)(swarm->channel_count * nodes) * sizeof(int));
    for (int place = 0; place < swarm->channel_count * nodes; place++)
        now_driving.publishers[place] = -1;
    for (int i = swarm->options.clients; i-- > 0;)
        now_driving.publishers[channel_of(swarm, i) * nodes + (swarm->options.first + i) % nodes] = i;
}

static void say_message(struct swarm *swarm, int client, const struct saying *saying) {
    if (!say(swarm, client, saying))
        give_up("a publisher's socket is full");
}

void publish(struct swarm *swarm, int channel) {
    int nodes = swarm->options.node_count;
    if (!now_driving.publishers)
        choose_publishers(swarm);
    struct saying saying = message(&swarm->options, swarm->first_channel + channel,
                                   ++swarm->channels[channel].published, nanoseconds(), 0);
    for (int node = 0, said = 0; node < nodes && (!said || swarm->options.all_nodes); node++) {
        int client = now_driving.publishers[channel * nodes + node];
        if (client < 0 || swarm->all[client].was_down)
            continue;
        say_message(swarm, client, &saying);
        said = 1;
    }
}

static void publish_next(struct swarm *swarm) {
    int channel = now_driving.next;
    now_driving.next = (channel + 1) % swarm->channel_count;
    publish(swarm, channel);
}

/* A channel has one message in flight: one whose message is slow is passed over. */
static void publish_in_turn(struct swarm *swarm) {
    for (;;) {
        struct channel *next = &swarm->channels[now_driving.next];
        if (next->number == next->published && (!next->number || next->arrived == next->members))
            break;
        now_driving.next = (now_driving.next + 1) % swarm->channel_count;
    }
    now_driving.under_way++;
    publish_next(swarm);
}

static void go_round(struct swarm *swarm, int channel) {
    (void)channel;
    now_driving.under_way--;
    if (nanoseconds() < now_driving.stop_at)
        publish_in_turn(swarm);
}

void begin_driving(struct swarm *swarm, int window, int64_t stop_at) {
    now_driving.stop_at = stop_at;
    now_driving.driving = 1;
    swarm->landed = go_round;
    for (int i = 0; i < window && i < swarm->channel_count; i++)
        publish_in_turn(swarm);
}

void begin_pacing(struct swarm *swarm, double rate, int64_t stop_at) {
    now_driving.stop_at = stop_at;
    now_driving.began = nanoseconds();
    now_driving.rate = rate;
    now_driving.paced = 0;
    swarm->landed = NULL;
}

static void flood(struct swarm *swarm, int client) {
    int channel = channel_of(swarm, client);
    struct saying saying = message(&swarm->options, swarm->first_channel + channel,
                                   ++swarm->channels[channel].published, nanoseconds(), ++now_driving.id + 10);
    say_message(swarm, client, &saying);
}

static void flood_on(struct swarm *swarm, int client) {
    now_driving.under_way--;
    if (nanoseconds() < now_driving.stop_at) {
        now_driving.under_way++;
        flood(swarm, client);
    }
}

void begin_flooding(struct swarm *swarm, int window, int64_t stop_at) {
    now_driving.stop_at = stop_at;
    now_driving.driving = 1;
    swarm->answered = flood_on;
    for (int i = 0; i < swarm->options.clients * window; i++) {
        now_driving.under_way++;
        flood(swarm, i % swarm->options.clients);
    }
}

int publish_what_is_due(struct swarm *swarm) {
    int64_t now = nanoseconds();
    if (!now_driving.rate)
        return -1;
    for (; now < now_driving.stop_at; now_driving.paced++) {
        int64_t due = now_driving.began + (int64_t)((double)now_driving.paced * 1e9 / now_driving.rate);
        if (due > now)
            return (int)((due - now) / 1000000) + 1;
        publish_next(swarm);
    }
    now_driving.rate = 0;
    return -1;
}

int is_over(void) {
    return !now_driving.rate && !(now_driving.driving && now_driving.under_way);
}

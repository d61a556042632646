#ifndef KE1_SEQUENCER_H
#define KE1_SEQUENCER_H

enum stage { STAGE_IDLE, STAGE_CHILLDOWN, STAGE_IGNITION, STAGE_MAINSTAGE, STAGE_SHUTDOWN, STAGE_ABORT };

struct sequencer {
    enum stage stage;
    double in_stage; /* seconds */
};

struct sensors {
    double pump_temperature; /* K */
    double chamber_pressure; /* bar */
};

/* One step of dt seconds. `run` is the command from the flight computer. */
enum stage sequencer_step(struct sequencer *s, const struct sensors *in, int run, double dt);

const char *stage_name(enum stage stage);

#endif

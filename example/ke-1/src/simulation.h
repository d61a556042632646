#ifndef KE1_SIMULATION_H
#define KE1_SIMULATION_H

#include "controller.h"
#include "sequencer.h"

/* An engine on a test stand: what the controller sees and does. */
struct engine {
    struct sequencer sequencer;
    struct controller throttle;
    struct sensors sensors;
    double valve;     /* 0 to 1 */
    double impulse;   /* N s, since the start */
    double max_pressure;
};

struct engine engine_make(void);

/* Runs for `seconds` with the chamber pressure (bar) that is wanted; 0 shuts down. */
void engine_run(struct engine *e, double target_pressure, double seconds);

#endif

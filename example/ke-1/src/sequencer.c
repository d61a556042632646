#include "sequencer.h"

#define CHILLDOWN_TEMPERATURE 95.0
#define CHILLDOWN_LIMIT 30.0
#define IGNITION_PRESSURE 4.0
#define IGNITION_LIMIT 2.0
#define BURST_PRESSURE 130.0

static void enter(struct sequencer *s, enum stage stage)
{
    s->stage = stage;
    s->in_stage = 0;
}

enum stage sequencer_step(struct sequencer *s, const struct sensors *in, int run, double dt)
{
    s->in_stage += dt;
    if (in->chamber_pressure > BURST_PRESSURE)
        enter(s, STAGE_ABORT);
    switch (s->stage) {
    case STAGE_IDLE:
        if (run)
            enter(s, STAGE_CHILLDOWN);
        break;
    case STAGE_CHILLDOWN:
        if (!run)
            enter(s, STAGE_SHUTDOWN);
        else if (in->pump_temperature < CHILLDOWN_TEMPERATURE)
            enter(s, STAGE_IGNITION);
        else if (s->in_stage > CHILLDOWN_LIMIT)
            enter(s, STAGE_ABORT);
        break;
    case STAGE_IGNITION:
        if (in->chamber_pressure > IGNITION_PRESSURE)
            enter(s, STAGE_MAINSTAGE);
        else if (s->in_stage > IGNITION_LIMIT)
            enter(s, STAGE_ABORT);
        break;
    case STAGE_MAINSTAGE:
        if (!run)
            enter(s, STAGE_SHUTDOWN);
        break;
    case STAGE_SHUTDOWN:
    case STAGE_ABORT:
        break;
    }
    return s->stage;
}

const char *stage_name(enum stage stage)
{
    static const char *const names[] = {"idle", "chilldown", "ignition", "mainstage", "shutdown", "abort"};
    return names[stage];
}

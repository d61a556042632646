#include "simulation.h"

#include "injector.h"

#define STEP 1e-4
#define TANK_PRESSURE 25.0
#define PRESSURE_OF_FLOW 0.9   /* bar per kg/s in balance */
#define THRUST_OF_PRESSURE 18.0e3 /* N per bar */

struct engine engine_make(void)
{
    struct engine e = {.throttle = controller_make(0.02, 0.05, 0.0005, 0, 1)};
    e.sensors.pump_temperature = 290;
    return e;
}

void engine_run(struct engine *e, double target_pressure, double seconds)
{
    long steps = (long)(seconds / STEP);
    for (long i = 0; i < steps; i++) {
        enum stage stage = sequencer_step(&e->sequencer, &e->sensors, target_pressure > 0, STEP);
        double wanted = 0;
        if (stage == STAGE_CHILLDOWN || stage == STAGE_IGNITION)
            e->sensors.pump_temperature += (80 - e->sensors.pump_temperature) * STEP / 4;
        if (stage == STAGE_IGNITION)
            wanted = 0.2;
        if (stage == STAGE_MAINSTAGE)
            wanted = controller_step(&e->throttle, target_pressure, e->sensors.chamber_pressure, STEP);
        /* The valve takes 50 ms, the chamber 20 ms. */
        e->valve += (wanted - e->valve) * STEP / 0.05;
        double flow = injector_flow(e->valve, TANK_PRESSURE);
        e->sensors.chamber_pressure += (flow * PRESSURE_OF_FLOW - e->sensors.chamber_pressure) * STEP / 0.02;
        e->impulse += e->sensors.chamber_pressure * THRUST_OF_PRESSURE * STEP;
        if (e->sensors.chamber_pressure > e->max_pressure)
            e->max_pressure = e->sensors.chamber_pressure;
    }
}

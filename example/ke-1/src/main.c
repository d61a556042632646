#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulation.h"

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("ke-1-ctl %s (%ld)\n", KE1_BUILD_TAG, (long)KE1_BUILD_EPOCH);
        return 0;
    }
    char *end = NULL;
    double pressure = argc == 2 ? strtod(argv[1], &end) : 0;
    if (argc != 2 || *end != '\0' || pressure <= 0 || pressure > 120) {
        fprintf(stderr, "usage: ke-1-ctl --version | PRESSURE\n  PRESSURE: chamber pressure in bar, up to 120\n");
        return 2;
    }
    struct engine engine = engine_make();
    engine_run(&engine, pressure, 30);
    printf("%s: %.2f bar after 30 s, %.0f kN s\n", stage_name(engine.sequencer.stage), engine.sensors.chamber_pressure,
           engine.impulse / 1e3);
    return engine.sequencer.stage == STAGE_MAINSTAGE ? 0 : 1;
}

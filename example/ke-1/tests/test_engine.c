#include <math.h>
#include <stdio.h>

#include "injector.h"
#include "simulation.h"

static int checks, failures;

#define CHECK(what, ...) \
    do { \
        checks++; \
        if (!(what)) { \
            failures++; \
            printf("FAILED: " __VA_ARGS__); \
            printf("\n"); \
        } \
    } while (0)

static void test_controller(void)
{
    struct controller c = controller_make(1, 1, 0, 0, 1);
    CHECK(controller_step(&c, 10, 0, 0.1) == 1, "the output is clamped");
    CHECK(c.integral == 0, "the integral does not wind up while it is");
}

static void test_injector(void)
{
    double last = -1;
    int rising = 1;
    for (int i = 0; i <= 1000; i++) {
        double flow = injector_flow(i / 1000.0, 25);
        rising &= flow > last;
        last = flow;
    }
    CHECK(rising, "the flow rises with the valve");
    CHECK(injector_flow(0.5, 0) == 0, "no pressure, no flow");
    CHECK(fabs(injector_flow(2, 25) - injector_flow(1, 25)) < 1e-9, "a valve cannot open beyond its end");
}

static void test_sequencer(void)
{
    struct sequencer s = {STAGE_IDLE, 0};
    struct sensors warm = {290, 0}, burst = {80, 200};
    sequencer_step(&s, &warm, 1, 0.1);
    for (int i = 0; i < 400 && s.stage == STAGE_CHILLDOWN; i++)
        sequencer_step(&s, &warm, 1, 0.1);
    CHECK(s.stage == STAGE_ABORT, "a pump that stays warm aborts the start");
    struct sequencer running = {STAGE_MAINSTAGE, 0};
    CHECK(sequencer_step(&running, &burst, 1, 0.1) == STAGE_ABORT, "too much pressure aborts");
}

static void test_engine(void)
{
    for (int target = 10; target <= 100; target += 10) {
        struct engine e = engine_make();
        engine_run(&e, target, 400);
        CHECK(e.sequencer.stage == STAGE_MAINSTAGE, "%d bar: reaches mainstage", target);
        CHECK(fabs(e.sensors.chamber_pressure - target) < 0.5, "%d bar: holds %.3f", target, e.sensors.chamber_pressure);
        /* Ignition itself goes to 25 bar. */
        CHECK(e.max_pressure < 1.05 * fmax(target, 25), "%d bar: overshoots to %.1f at most", target, e.max_pressure);
        printf("%3d bar: %.3f after 400 s, %.1f at most\n", target, e.sensors.chamber_pressure, e.max_pressure);
        engine_run(&e, 0, 5);
        CHECK(e.sequencer.stage == STAGE_SHUTDOWN && e.sensors.chamber_pressure < 0.1, "%d bar: shuts down", target);
    }
}

int main(void)
{
    test_controller();
    test_injector();
    test_sequencer();
    test_engine();
    printf("%d checks, %d failed\n", checks, failures);
    return failures > 0;
}

#include "controller.h"

struct controller controller_make(double kp, double ki, double kd, double low, double high)
{
    struct controller c = {.kp = kp, .ki = ki, .kd = kd, .low = low, .high = high};
    return c;
}

double controller_step(struct controller *c, double target, double measured, double dt)
{
    double error = target - measured;
    double slope = c->primed ? (error - c->previous_error) / dt : 0.0;
    double integral = c->integral + error * dt;
    double output = c->kp * error + c->ki * integral + c->kd * slope;
    c->previous_error = error;
    c->primed = 1;
    if (output > c->high)
        return c->high;
    if (output < c->low)
        return c->low;
    /* Only while the valve can follow: otherwise the integral would run away. */
    c->integral = integral;
    return output;
}

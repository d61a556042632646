#ifndef KE1_CONTROLLER_H
#define KE1_CONTROLLER_H

/* A PID controller with a clamped output and an integral that does not wind up. */
struct controller {
    double kp, ki, kd;
    double low, high;
    double integral, previous_error;
    int primed;
};

struct controller controller_make(double kp, double ki, double kd, double low, double high);

/* One step of dt seconds; the new output, between low and high. */
double controller_step(struct controller *c, double target, double measured, double dt);

#endif

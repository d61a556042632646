#ifndef KE1_INJECTOR_H
#define KE1_INJECTOR_H

/* Mass flow in kg/s at a valve position of 0 to 1 and a tank pressure of 0 to 40 bar. */
double injector_flow(double position, double pressure);

#endif

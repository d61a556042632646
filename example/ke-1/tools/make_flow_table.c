/* Prints the injector's flow table: the orifice equation, averaged over the holes of the injector plate. */
#include <math.h>
#include <stdio.h>

#define ROWS 96
#define COLUMNS 96
#define MAX_PRESSURE 40.0
#define HOLES 6000

static double hole_flow(double position, double pressure, int hole)
{
    double spread = 1 + 0.05 * sin(hole * 0.7);
    double area = 2.2e-6 * spread * (1 - exp(-4 * position)) / (1 - exp(-4));
    return 0.82 * area * sqrt(2 * 1140 * pressure * 1e5);
}

int main(void)
{
    printf("#define FLOW_ROWS %d\n#define FLOW_COLUMNS %d\n#define FLOW_MAX_PRESSURE %.1f\n", ROWS, COLUMNS, MAX_PRESSURE);
    printf("static const double flow_table[FLOW_ROWS][FLOW_COLUMNS] = {\n");
    for (int row = 0; row < ROWS; row++) {
        printf("{");
        for (int column = 0; column < COLUMNS; column++) {
            double flow = 0;
            for (int hole = 0; hole < HOLES; hole++)
                flow += hole_flow(column / (COLUMNS - 1.0), MAX_PRESSURE * row / (ROWS - 1.0), hole);
            printf("%.6f,", flow);
        }
        printf("},\n");
    }
    printf("};\n");
    return 0;
}
